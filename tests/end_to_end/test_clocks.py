"""Clocks that are wrong, and that jump: no frame is `expired` for it, and no living worker adopted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.fleet.in_folder import IN_FOLDER, Member
from tests.fleet.members import status
from tests.fleet.provisioned import Client, GuardedBroker, provision
from tests.fleets import Fleet
from tests.harness import Listener, statuses, user_properties, wait_for
from tests.metrics import metric
from tests.wrong_clock import WrongClock
from wire.messages import Rejection, Result, utc_now
from wire.topics import client_id

HOUR = 3600.0
#: From now back to 1970, or about that.
DECADES = 56 * 365 * 86_400.0


def captured(seconds_ago: float) -> Dict[str, Any]:
    return user_properties(("captured-at", (utc_now() - timedelta(seconds=seconds_ago)).isoformat()))


def outcomes(listener: Listener, root: str) -> List[str]:
    """Cameras with `result`, or why their frames were rejected."""
    results = [f"{Result.decode(m.payload).camera} result" for m in listener.on(f"{root}/results/")]
    rejects = [Rejection.decode(m.payload) for m in listener.on(f"{root}/rejects/")]
    return sorted(results + [f"{reject.camera} {reject.reason.value}" for reject in rejects])


def results(home: Client) -> List[Result]:
    """The answers that a listener has heard."""
    return [Result.decode(m.payload) for m in list(home.messages) if "/results/" in m.topic]


def heartbeats(home: Client, worker: str) -> int:
    """How many statuses of a worker it has heard."""
    return sum(each.worker == worker for each in statuses(list(home.messages)))


def test_a_camera_whose_clock_is_an_hour_behind_is_answered_and_named(
    photos: Path,
    fleet: Fleet,
) -> None:
    worker = fleet.worker("--max-age", "600")
    listener = fleet.listen("results/+", "rejects/+")
    image = (photos / "rocket.jpg").read_bytes()
    for _ in range(5):
        fleet.send("door", image, **captured(HOUR))
        fleet.send("hall", image, **captured(0))
    wait_for(lambda: len(listener.messages) == 10, what="ten answers")
    assert outcomes(listener, fleet.root) == ["door result"] * 5 + ["hall result"] * 5
    said = "the clock of camera door seems to be 60.0 min behind this worker's"
    assert worker.log.read_text().count(said) == 1
    assert 3590 < metric(worker, "nanofleet_camera_clock_skew_seconds") < 3610
    assert metric(worker, "nanofleet_frame_age_seconds_sum") < 60


def test_what_has_waited_is_told_from_a_wrong_clock(
    photos: Path,
    fleet: Fleet,
) -> None:
    """A worker that comes back to what the broker has kept for it knows the clocks from its life before."""
    worker = fleet.worker("--max-age", "600", "--status-interval", "0.5")
    listener = fleet.listen("results/+", "rejects/+")
    image = (photos / "rocket.jpg").read_bytes()
    for camera, wrong in (("right", 0.0), ("wrong", HOUR)):
        fleet.send(camera, image, **captured(wrong))
    wait_for(lambda: len(listener.messages) == 2, what="two answers")
    note = worker.log.with_suffix(".clocks")
    wait_for(lambda: note.exists() and len(json.loads(note.read_bytes())) == 2, what="a note of two cameras")
    worker.stop(signal.SIGKILL)
    listener.messages.clear()
    for camera, ago in (("right", 1000.0), ("wrong", HOUR + 1000), ("wrong", HOUR), ("right", 0.0)):
        fleet.send(camera, image, **captured(ago))
    worker.start()
    wait_for(lambda: len(listener.messages) == 4, 60, "four answers")
    assert outcomes(listener, fleet.root) == [
        "right expired",
        "right result",
        "wrong expired",
        "wrong result",
    ]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[GuardedBroker]:
    """A broker that shows a certificate, and asks for one."""
    provision(tmp_path / "fleet", *("--camera", "door", "--worker", "nano-1,nano-2", "--listener", "home"))
    started = GuardedBroker(tmp_path, tmp_path / "fleet")
    started.start()
    yield started
    started.stop()


@pytest.fixture
def start(broker: GuardedBroker) -> Iterator[Callable[..., Member]]:
    """Start workers, which must end well with the test."""
    started: List[Member] = []

    def start_member(name: str, *flags: str) -> Member:
        started.append(Member(broker.home(name), *flags))
        return started[-1]

    yield start_member
    codes = [member.stop() for member in started]
    assert set(codes) == {0}, codes
    assert not any(member.said("Traceback") for member in started)


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python waits by the wall clock, which is only pretended here"
)
def test_a_machine_without_a_battery_hears_of_the_time(
    broker: GuardedBroker, start: Callable[..., Member], tmp_path: Path, photos: Path
) -> None:
    """It starts in 1970, where no certificate is valid yet; then its clock jumps, and later jumps back."""
    quick = ("--status-interval", "0.5", "--adopt-after", "1", "--max-age", "600")
    image = (photos / "rocket.jpg").read_bytes()
    clock = WrongClock(tmp_path, -DECADES)
    right = start("nano-2", *quick)
    right.wait_ready()
    with clock.shown():
        wrong = start("nano-1", *quick)
        log = (tmp_path / "publisher.log").open("wb")
        where = ("--camera", "door", "--spool-dir", str(tmp_path / "spool"), "--timeout", "90")
        publisher = subprocess.Popen(
            [*IN_FOLDER, "publish", str(photos / "rocket.jpg"), *where],
            cwd=broker.home("door"),
            stdout=log,
            stderr=log,
        )
    with log, publisher, Client(broker, "home") as home:
        home.subscribe("nanofleet/results/+", "nanofleet/rejects/+", "nanofleet/workers/+")
        logs = (wrong.log, tmp_path / "publisher.log")
        refused = "not yet valid by this machine's clock (1970-"
        wait_for(lambda: all(refused in log.read_text() for log in logs), 60, refused)
        clock.set(0)
        wrong.wait_ready()
        assert publisher.wait(60) == 0, (tmp_path / "publisher.log").read_text()
        (kept,) = wait_for(lambda: results(home), what="the listener has the answer as well")
        assert kept.captured_at is not None
        assert utc_now() - kept.captured_at < timedelta(hours=1), "by the clock as it was set"
        for ahead in (0.0, -HOUR, -DECADES, 0.0):
            clock.set(ahead)
            home.messages.clear()
            with Client(broker, "door") as camera:
                for _ in range(4):
                    assert camera.publish("nanofleet/frames/door", image, **captured(0)) == 0
            wait_for(lambda: len(results(home)) == 4, what="four answers")
            assert {result.worker for result in results(home)} == {"nano-1", "nano-2"}
            wait_for(lambda: heartbeats(home, "nano-1") >= 5, what="longer than a lease and the grace")
        assert not any("/rejects/" in message.topic for message in home.messages)
        assert {each.state for each in statuses(home.messages)} == {"online"}
    assert not any(worker.said("adopt") for worker in (wrong, right))


def test_what_an_earlier_life_left_is_no_other_worker(
    fleet: Fleet,
) -> None:
    """Its last status may still be queued for it, and tell a later time than the clock does by now."""
    listener = fleet.listen("workers/+")
    name = f"{fleet.root}-w1"
    session = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id(name), protocol=mqtt.MQTTv5)
    kept = Properties(PacketTypes.CONNECT)
    kept.SessionExpiryInterval = 600
    subscribed: List[int] = []
    session.on_connect = lambda client, *_: client.subscribe(f"{fleet.root}/workers/{name}", 1)
    session.on_subscribe = lambda *_: subscribed.append(1)
    host, _, port = fleet.url[len("mqtt://") :].partition(":")
    session.connect(host, int(port), clean_start=True, properties=kept)
    session.loop_start()
    wait_for(lambda: subscribed, what="a session")
    session.disconnect()
    session.loop_stop()
    later = utc_now() + timedelta(days=1)
    left = status(name, started_at=later, sent_at=later)
    listener.publish(f"{fleet.root}/workers/{name}", left.encode())
    worker = fleet.worker("--status-interval", "0.2")
    listener.messages.clear()
    wait_for(lambda: len(listener.messages) >= 3, what="statuses")
    assert worker.process.poll() is None, worker.log.read_text()
