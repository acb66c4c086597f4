"""A fleet's folder, and a broker with one."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Iterator

import pytest

from fleet.cli import main
from tests.fleet.provision import rights
from tests.fleet.provision.folder import MEMBERS
from tests.fleet.provisioned import Client, GuardedBroker, provision


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A fleet's folder."""
    folder = tmp_path / "fleet"
    assert main(["provision", str(folder), *MEMBERS]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A broker for all tests here; beside its fleet's folder is `strangers`, another fleet's."""
    folder = tmp_path_factory.mktemp("guarded")
    fleet = folder / "fleet"
    fleet.mkdir()
    (fleet / "extra.acl").write_text("user witness\ntopic readwrite #\ntopic read $SYS/#\n")
    provision(fleet, *rights.MEMBERS)
    provision(folder / "strangers", "--camera", "door", "--worker", "nano-1")
    started = GuardedBroker(folder, fleet)
    yield started.start()
    started.stop()


@pytest.fixture(autouse=True)
def _own_garbage() -> Iterator[None]:
    """A socket that a test left open is that test's fault, not that of the next one."""
    yield
    gc.collect()


@pytest.fixture
def witness(broker: GuardedBroker) -> Iterator[Client]:
    """One that reads and writes everything."""
    with Client(broker, "witness") as client:
        assert client.connack == 0, client.fault
        yield client
