"""Brokers, listeners and workers as fixtures. A server that is missing skips at home and fails in CI."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Iterator, List

import pytest
from hypothesis import HealthCheck, settings

from tests.fleets import EMBEDDED, Fleet
from tests.harness import Mosquitto

# A shell that runs the tests in its background has them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# PyTorch's threads spin while they wait for one another, and keep others from running where tests share the
# processors: ten times the CPU was measured. It is read when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# No example is too late on a busy machine, and in CI they are the same each time, as newer releases have it.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("busy")

# What members keep across restarts must neither come from earlier tests nor go to the user's own fleet.
_STATE = tempfile.TemporaryDirectory(prefix="nanofleet-state-")
os.environ["XDG_STATE_HOME"] = _STATE.name


@pytest.fixture(scope="session")
def mosquitto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Mosquitto for all tests that do no harm to it: keep to a root of your own."""
    broker = Mosquitto(
        tmp_path_factory.mktemp("mosquitto"), "allow_anonymous true", "max_queued_messages 10000"
    )
    yield broker.start().url
    broker.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start a Mosquitto with a configuration of the test's own."""
    started: List[Mosquitto] = []

    def start(*lines: str) -> Mosquitto:
        folder = tmp_path / f"mosquitto-{len(started)}"
        folder.mkdir()
        started.append(Mosquitto(folder, *lines).start())
        return started[-1]

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    """The embedded broker, for all tests."""
    from fleet.embedded import embedded_broker

    with embedded_broker() as url:
        yield url


@pytest.fixture(params=["mosquitto", EMBEDDED])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Each of the two brokers in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


_roots = itertools.count()


@pytest.fixture
def root() -> str:
    """A root topic that no other test uses."""
    return f"test-{os.getpid()}-{next(_roots)}"


@pytest.fixture(scope="session")
def photos() -> Path:
    """scikit-image's photos, as they come in its wheel."""
    import skimage

    return Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder for all tests in all processes: what one of them has exported serves the others."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "weights"
    (folder / "nanofleet").mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def fleet(
    request: pytest.FixtureRequest, mosquitto: Callable[..., Mosquitto], tmp_path: Path, root: str
) -> Iterator[Fleet]:
    """A fleet on the tests' Mosquitto, if no decorator of `tests.fleets` says otherwise.

    It ends before what `mosquitto` has started, so that workers can leave in good order.
    """
    broker = getattr(request, "param", "mosquitto")
    started = Fleet(str(request.getfixturevalue(f"{broker}_url")), root, tmp_path)
    yield started
    started.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where this machine lets one be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
