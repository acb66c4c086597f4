"""On a broker that lets each do its part alone: a worker keeps the cameras' states, or an observer."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Iterator, List

import pytest

from tests.fleet.in_folder import IN_FOLDER, Member, command
from tests.fleet.provisioned import Client, GuardedBroker, provision
from tests.harness import wait_for
from tests.worker.engines.test_onnx_served import png

MEMBERS = ("--camera", "door", "--worker", "nano-1", "--homeassistant", "ha", "--operator", "admin")
QUICK = ("--status-interval", "0.5")
STATE = "nanofleet/cameras/door"
ANNOUNCED = "homeassistant/device/nanofleet/camera-door/config"


@contextlib.contextmanager
def observer(home: Path) -> Iterator[Path]:
    """An observer that is started in its member's folder; yields its log."""
    log = home / "observer.log"
    with log.open("wb") as lines:
        started = subprocess.Popen([*IN_FOLDER, "observe", *QUICK], cwd=home, stdout=lines, stderr=lines)
    try:
        yield log
    finally:
        started.terminate()
        assert started.wait(30) == 0, log.read_text()


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[GuardedBroker]:
    """A broker for a fleet with the members of the parameter as well."""
    provision(tmp_path / "fleet", *MEMBERS, *request.param)
    started = GuardedBroker(tmp_path, tmp_path / "fleet")
    started.start()
    yield started
    started.stop()


@pytest.mark.parametrize("broker", [()], indirect=True, ids=["no observer"])
def test_a_worker_keeps_what_home_assistant_reads(broker: GuardedBroker) -> None:
    worker = Member(broker.home("nano-1"), *QUICK)
    worker.wait_ready()
    check_states(broker, worker.log)
    assert worker.stop() == 0
    assert "0x87" not in worker.log.read_text()


@pytest.mark.parametrize("broker", [("--observer", "watch")], indirect=True, ids=["an observer"])
def test_an_observer_keeps_it_in_the_workers_place(broker: GuardedBroker) -> None:
    worker = Member(broker.home("nano-1"), *QUICK)
    worker.wait_ready()
    with observer(broker.home("watch")) as log:
        check_states(broker, log)
    assert worker.stop() == 0
    for said in (worker.log.read_text(), log.read_text()):
        assert "0x87" not in said
    assert not worker.said("observing the cameras")


def check_states(broker: GuardedBroker, log: Path) -> None:
    """Have a frame answered, and its camera asked for, named and removed, each by whose part it is."""
    wait_for(lambda: "observing the cameras of nanofleet" in log.read_text(), 60, "an observer")
    with Client(broker, "ha") as home, Client(broker, "door") as door:
        home.subscribe("#")

        def told(topic: str) -> List[bytes]:
            return [message.payload for message in list(home.messages) if message.topic == topic]

        assert door.publish("nanofleet/frames/door", png((200, 9, 9))) == 0
        wait_for(lambda: told(STATE) and told(ANNOUNCED), what="what Home Assistant reads")
        before = len(told(STATE))
        assert home.publish("nanofleet/control/announce") == 0
        wait_for(lambda: len(told(STATE)) > before, what="the state again")
        named = command(broker.home("admin"), "cameras", "set", "door", "name=Front")
        assert named.returncode == 0, named.stdout + named.stderr
        wait_for(lambda: b'"name":"Front"' in told(STATE)[-1], what="the name")
        removed = command(broker.home("admin"), "cameras", "remove", "door")
        assert removed.returncode == 0, removed.stdout + removed.stderr
        wait_for(lambda: told(STATE)[-1] == b"", what="the end of the state")
        wait_for(lambda: told(ANNOUNCED)[-1] == b"", what="the end of the announcement")
