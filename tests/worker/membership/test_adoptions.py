"""The adoption of a dead worker's session: drained and ended, absent, or left to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator, List, cast

import pytest

from tests.harness import wait_for
from tests.worker.fleet import status
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.topics import client_id
from worker.delivery.frame import Frame
from worker.delivery.unacked import Unacked
from worker.life import Life
from worker.membership.adoptions import Adoptions
from worker.membership.peers import Peers
from worker.metrics import Metrics
from worker.settings import WorkerSettings
from worker.worker import Worker

NOT_ASKED = cast(Any, None)
GRACE = 60.0
FRAMES = 3


def ignore(delivery: Delivery) -> None:
    """Take nothing in."""


class Adopter:
    """A worker that answers adopted frames at once, or never, and has no model for it."""

    def __init__(self, url: str, root: str, folder: Path) -> None:
        self.settings = WorkerSettings(broker=url, root=root, state_dir=folder, status_interval=0.2)
        self.broker = self.settings.open_broker()
        self.dead = f"{root}-dead"
        self.life, self.metrics = Life(), Metrics()
        worker = Worker(
            f"{root}-own", self.settings, NOT_ASKED, NOT_ASKED, NOT_ASKED, self.metrics, "", self.life
        )
        self.now = 1000.0
        inputs = self.settings.inputs
        self.peers = Peers(worker.id, self.settings.group, inputs, GRACE, clock=lambda: self.now)
        self.peers.receive(status(self.dead, "lost", inputs=inputs))
        self.adoptions = Adoptions(worker, self.peers)
        self.connection = Connection(self.broker, client_id(worker.id), on_delivery=ignore)
        self.frames: List[Frame] = []
        self.answers = True

    def receive(self, delivery: Delivery, unacked: Unacked) -> None:
        frame = Frame.receive(delivery, "door")
        if unacked.admit(frame):
            self.frames.append(frame)
            if self.answers:
                unacked.settle(frame)

    def tick(self) -> None:
        """As a session does it, in its network thread."""
        done: List[bool] = []

        def tick() -> None:
            self.adoptions.tick(self.connection, self.receive)
            done.append(True)

        self.connection.call(tick)
        wait_for(lambda: done, what="a tick")

    def outcomes(self, outcome: str) -> float:
        found = self.metrics.registry.get_sample_value("nanofleet_adoptions_total", {"outcome": outcome})
        assert found is not None
        return found

    def has_session(self) -> bool:
        """Whether the broker has a session of the dead worker; ends it."""
        present: List[bool] = []
        with Connection(self.broker, client_id(self.dead), on_delivery=ignore, on_connected=present.append):
            wait_for(lambda: present, what="a connection as the dead one")
        return present[0]

    def leave_a_session(self) -> None:
        """Let the dead worker leave a session, and frames come to it."""
        subscriptions = dict.fromkeys(self.settings.subscriptions, 1)
        with Connection(
            self.broker,
            client_id(self.dead),
            on_delivery=ignore,
            subscriptions=subscriptions,
            session_expiry=3600,
        ) as dead:
            wait_for(dead.subscribed.is_set, what="its subscriptions")
        taken: List[int] = []
        for number in range(FRAMES):
            topic = self.settings.topics.frames("door")
            self.connection.publish(Publication(topic, b"%d" % number, on_puback=taken.append))
        wait_for(lambda: len(taken) == FRAMES, what="the frames' PUBACKs")


@pytest.fixture
def adopter(mosquitto_url: str, root: str, tmp_path: Path) -> Iterator[Adopter]:
    made = Adopter(mosquitto_url, root, tmp_path)
    with made.connection:
        wait_for(made.connection.connected.is_set, what="a connection")
        yield made
        made.life.leaving.set()
        made.adoptions.join()


def over(adopter: Adopter) -> Callable[[], bool]:
    return lambda: not adopter.adoptions.is_adopting


def test_a_session_is_adopted_after_the_grace_time_and_ended(adopter: Adopter) -> None:
    adopter.leave_a_session()
    adopter.tick()
    assert not adopter.adoptions.is_adopting
    adopter.now += GRACE
    adopter.tick()
    assert adopter.adoptions.is_adopting
    wait_for(over(adopter), what="the end of the adoption")
    assert [frame.delivery.payload for frame in adopter.frames] == [b"0", b"1", b"2"]
    assert adopter.outcomes("adopted") == 1
    assert adopter.metrics.registry.get_sample_value("nanofleet_adopted_frames_total") == FRAMES
    assert adopter.adoptions.in_hand == 0
    assert not adopter.has_session()


def test_a_session_that_is_not_here_is_left_to_others(adopter: Adopter) -> None:
    adopter.now += GRACE
    adopter.tick()
    wait_for(over(adopter), what="the end of the adoption")
    assert adopter.outcomes("no_session") == 1
    assert adopter.peers.abandoned() is not None
    adopter.tick()
    assert adopter.peers.abandoned() is None
    assert not adopter.adoptions.is_adopting


def test_a_worker_that_leaves_leaves_the_session_it_adopts_to_another(adopter: Adopter) -> None:
    adopter.answers = False
    adopter.leave_a_session()
    adopter.now += GRACE
    adopter.tick()
    wait_for(lambda: adopter.adoptions.in_hand == FRAMES, what="frames in hand")
    adopter.life.leaving.set()
    adopter.adoptions.join()
    assert not adopter.adoptions.is_adopting
    assert adopter.outcomes("cut_short") == 1
    assert adopter.has_session()


def test_a_worker_that_leaves_begins_no_adoption(adopter: Adopter) -> None:
    """A tick that was posted before may come after `join`, which waits for nothing then."""
    adopter.now += GRACE
    adopter.life.leaving.set()
    adopter.adoptions.join()
    adopter.tick()
    assert not adopter.adoptions.is_adopting
    assert adopter.outcomes("cut_short") == 0, "nor has one begun and ended"


def test_an_adoption_that_a_tick_forgets_meanwhile_is_joined(
    adopter: Adopter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network thread may forget what is over at any moment, also between two looks of the main thread."""
    adopter.now += GRACE
    adopter.tick()
    wait_for(over(adopter), what="the end of the adoption")
    looks = iter([adopter.adoptions._adoption])
    monkeypatch.setattr(Adoptions, "_adoption", property(lambda self: next(looks, None)), raising=False)
    adopter.adoptions.join()
