"""Two workers of different speed on Mosquitto, which deals frames in turn whoever is slow."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import List, Tuple

import pytest

from publisher.publisher import Publisher
from publisher.sent import Sent
from tests.fleets import Fleet
from tests.harness import Listener, WorkerProcess, statuses, wait_for
from tests.metrics import metric
from wire.broker import BrokerSettings
from wire.topics import Topics

#: No batch is ever full, being larger than the window, so that each waits for 0.8 s.
SLOW = ("--max-batch", "33", "--max-delay", "0.8")


def publish(fleet: Fleet, image: bytes, frames: int, window: int = 32) -> List[Sent]:
    broker = BrokerSettings(broker=fleet.url).open_broker()
    with Publisher(broker, Topics(fleet.root), ["door"], window=window, timeout=60) as publisher:
        publisher.connection.wait_connected(threading.Event())
        sent = [publisher.send("door", image, "") for _ in range(frames)]
        publisher.wait()
    return sent


def takes_frames(listener: Listener, worker: WorkerProcess) -> List[bool]:
    """What each of a worker's statuses so far says of it."""
    return [status.takes_frames for status in statuses(listener.messages) if status.worker == worker.id]


@pytest.fixture
def image(photos: Path) -> bytes:
    return (photos / "rocket.jpg").read_bytes()


def start_pair(fleet: Fleet, *slow: str) -> Tuple[WorkerProcess, WorkerProcess, Listener]:
    """Start a fast worker and one with the flags that make it slow, and a listener to both."""
    return (
        # The slow one steps aside once it has heard this one speak.
        fleet.worker("--status-interval", "0.5", id="fast"),
        fleet.worker(*slow, id="slow"),
        fleet.listen("results/+", "workers/+"),
    )


def test_a_slow_worker_leaves_new_frames_to_a_fast_one(fleet: Fleet, image: bytes) -> None:
    fast, slow, listener = start_pair(fleet, *SLOW)
    sent = publish(fleet, image, 300)
    share = Counter(each.answer.worker for each in sent if each.answer)
    assert sum(share.values()) == 300
    wait_for(
        lambda: len(listener.on(f"{fleet.root}/results/")) >= 300, 30, "the listener hears the last as well"
    )
    assert len(listener.on(f"{fleet.root}/results/")) == 300, "each once"
    wait_for(lambda: False in takes_frames(listener, slow), what="the status that says so")
    assert share[slow.id] < 100, "dealt in turn it would be 150"
    assert metric(slow, "nanofleet_step_asides_total") >= 1
    wait_for(
        lambda: takes_frames(listener, slow)[-1:] == [True],
        30,
        "back when there is nothing to do",
    )
    assert fast.stop() == 0
    assert slow.stop() == 0


def test_the_fast_one_leaves_while_the_slow_one_is_aside(fleet: Fleet, image: bytes) -> None:
    """At no moment is nobody subscribed: a plain camera's frame would be lost."""
    fast, slow, listener = start_pair(fleet, "--max-batch", "33", "--max-delay", "2")
    for _ in range(2):  # its pace is known once it has answered
        publish(fleet, image, 8)
    camera = threading.Thread(target=publish, args=(fleet, image, 200, 64))
    camera.start()
    wait_for(
        lambda: takes_frames(listener, slow)[-1:] == [False],
        30,
        "the slow one is aside",
    )
    wait_for(lambda: metric(slow, "nanofleet_stepped_aside") == 1, what="once the broker has heard of it")
    fast.process.terminate()
    for n in range(100):
        fleet.send(f"plain-{n}", image)
    assert fast.process.wait(60) == 0
    camera.join(120)
    wait_for(
        lambda: len(listener.on(f"{fleet.root}/results/plain-")) == 100, 60, "the plain camera's answers"
    )
    wait_for(lambda: takes_frames(listener, slow)[-1:] == [True], what="the status that says so")
    assert slow.stop() == 0
