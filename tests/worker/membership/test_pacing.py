"""A slow worker steps aside for faster ones, and never do all of them."""

from __future__ import annotations

import random
from typing import Callable, List, Optional

import pytest

from tests.worker.fleet import INPUTS, status
from worker.membership.pacing import Pacing
from worker.membership.peers import MOST_SILENCE_SECONDS, Peers

LIMIT = 0.3


class Slow:
    """A worker that takes 20 ms for a frame, with the broker's answers in the test's hands."""

    def __init__(
        self, name: str = "slow", limit: float = LIMIT, may_step_aside: bool = True, lease: float = 30.0
    ) -> None:
        self.name = name
        self.now = 1000.0
        self.subscribed = True
        self.reported: List[bool] = []
        self.waits: List[float] = []
        self.pubacks: List[Callable[[], None]] = []
        self.peers = Peers(name, "workers", INPUTS, 60.0, clock=lambda: self.now, lease=lease)
        self.pacing = Pacing(
            self.peers,
            limit,
            publish_status=self.publish_status,
            take_frames=self.subscribe,
            clock=lambda: self.now,
        )
        self.pacing.connected(may_step_aside)

    def publish_status(self, then: Callable[[], None]) -> None:
        takes_frames, wait = self.pacing.report()
        self.reported.append(takes_frames)
        self.waits.append(wait)
        self.pubacks.append(then)

    def subscribe(self, subscribed: bool) -> None:
        self.subscribed = subscribed

    def take(self, frames: int) -> None:
        for _ in range(frames):
            self.pacing.received()

    def answer(self, frames: int) -> None:
        for _ in range(frames):
            self.now += 0.02
            self.pacing.answered(1)

    def receive_fast(self, wait: float = 0.0, *, retained: bool = False, **given: object) -> None:
        self.peers.receive_beacon("fast", "")
        self.peers.receive(status("fast", wait_seconds=wait, **given), retained=retained)
        self.pacing.check()

    def puback(self) -> None:
        for then in self.pubacks:
            then()
        self.pubacks.clear()


def slow_with_a_queue(**options: object) -> Slow:
    """It knows its pace, and has a second's work before it."""
    slow = Slow(**options)  # type: ignore[arg-type]
    slow.take(8)
    slow.answer(8)
    slow.take(50)
    return slow


def test_it_steps_aside_for_a_faster_one_and_back_in() -> None:
    slow = slow_with_a_queue()
    slow.receive_fast()
    assert slow.reported == [False]
    assert slow.subscribed  # until the broker has said so to everybody
    slow.puback()
    assert not slow.subscribed
    slow.answer(40)
    assert not slow.subscribed
    slow.answer(10)
    assert slow.subscribed
    assert slow.reported == [False, True]


def test_the_wait_is_what_the_last_frames_say() -> None:
    slow = slow_with_a_queue()
    assert slow.pacing.wait == pytest.approx(50 * 0.02)
    slow.now += 60
    slow.answer(50)
    assert slow.pacing.wait == 0
    slow.now += 60  # idle time is no frame's
    slow.take(1)
    slow.answer(1)
    slow.take(10)
    # The minute without an answer, among the last 32 frames, still counts.
    assert 10 * 0.02 < slow.pacing.wait < 10 * 60


@pytest.mark.parametrize(
    ("wait", "given"),
    [
        (0.6, {}),  # hardly faster
        (0.0, {"takes_frames": False}),
        (0.0, {"state": "draining"}),
        (0.0, {"state": "lost"}),
        (0.0, {"group": "night"}),
        (0.0, {"inputs": ["frigate/{camera}/snapshot"]}),
    ],
)
def test_nobody_is_there_to_step_aside_for(wait: float, given: dict) -> None:  # type: ignore[type-arg]
    slow = slow_with_a_queue()
    slow.receive_fast(wait, **given)
    assert slow.reported == []
    assert slow.subscribed


@pytest.mark.parametrize("options", [{"limit": 0.0}, {"may_step_aside": False}, {"limit": 2.0}])
def test_it_is_told_not_to_or_need_not(options: dict) -> None:  # type: ignore[type-arg]
    slow = slow_with_a_queue(**options)
    slow.receive_fast()
    assert slow.reported == []


def test_a_single_frame_is_no_queue_however_slow_the_worker() -> None:
    slow = Slow()
    slow.take(1)
    slow.now += 5
    slow.pacing.answered(1)
    slow.receive_fast()
    slow.take(1)
    assert slow.pacing.wait == 5
    assert slow.reported == []
    slow.take(1)
    assert slow.reported == [False]


@pytest.mark.parametrize("state", ["lost", "offline", "draining"])
def test_it_steps_in_when_the_other_goes(state: str) -> None:
    slow = slow_with_a_queue()
    slow.receive_fast()
    slow.puback()
    assert not slow.subscribed
    slow.receive_fast(state=state)
    assert slow.subscribed
    assert slow.reported[-1] is True


def test_it_steps_aside_for_nobody_that_is_silent_however_long_a_lease_it_gave_itself() -> None:
    slow = slow_with_a_queue()
    slow.receive_fast(lease_seconds=1e9)
    slow.puback()
    assert not slow.subscribed
    slow.now += MOST_SILENCE_SECONDS
    slow.pacing.check()
    assert slow.subscribed
    slow.now += 1
    slow.pacing.check()
    assert slow.reported == [False, True]


def test_it_steps_aside_for_nobody_whose_last_word_is_from_before_it_connected() -> None:
    """A stolen worker's stays retained after its end: each reconnect would make it live for a minute more."""
    slow = slow_with_a_queue()
    slow.receive_fast(lease_seconds=1e9, retained=True)
    assert slow.reported == []
    slow.receive_fast(lease_seconds=1e9)
    assert slow.reported == [False]
    slow.puback()
    assert not slow.subscribed
    slow.peers.forget()  # the connection was lost
    slow.receive_fast(lease_seconds=1e9, retained=True)
    assert slow.subscribed


def test_it_stays_aside_between_two_statuses_however_rare_they_are() -> None:
    slow = slow_with_a_queue(lease=300.0)
    slow.receive_fast(lease_seconds=300.0)
    slow.puback()
    slow.now += 299
    slow.pacing.check()
    assert not slow.subscribed
    slow.now += 1
    slow.pacing.check()
    assert slow.subscribed


def test_it_stays_if_the_other_goes_before_the_puback() -> None:
    slow = slow_with_a_queue()
    slow.receive_fast()
    slow.receive_fast(takes_frames=False)
    slow.puback()
    assert slow.subscribed
    assert slow.reported == [False, True]


def test_one_that_leaves_neither_steps_aside_nor_in() -> None:
    slow = slow_with_a_queue()
    slow.receive_fast()
    slow.pacing.leave()
    slow.puback()
    slow.answer(50)
    assert slow.subscribed
    assert slow.reported == [False]


def test_the_others_hear_of_a_wait_that_has_become_shorter() -> None:
    slow = slow_with_a_queue()
    slow.publish_status(lambda: None)
    slow.receive_fast(wait=1.0)
    assert slow.waits == [1.0]
    slow.answer(30)
    assert slow.waits == [1.0, pytest.approx(0.48)]


@pytest.mark.parametrize("instance", ["another process", None])
def test_one_that_is_not_at_this_broker_is_no_help(instance: Optional[str]) -> None:
    """Its status comes over a bridge: it takes another broker's frames."""
    slow = slow_with_a_queue()
    if instance is not None:
        slow.peers.receive_beacon("fast", instance)
    slow.peers.receive(status("fast", wait_seconds=0.0))
    slow.pacing.check()
    assert slow.reported == []
    slow.receive_fast()
    assert slow.reported == [False]


@pytest.mark.parametrize("seed", range(50))
def test_one_always_stays(seed: int) -> None:
    """All want to step aside at once. The broker takes their statuses in some order and sends them in it."""
    chance = random.Random(seed)
    workers = [slow_with_a_queue(name=f"w{n}") for n in range(chance.randint(2, 5))]
    for worker in workers:
        for other in workers:
            worker.peers.receive_beacon(other.name, "")
            worker.peers.receive(status(other.name, wait_seconds=0.1))
    taken: List[Slow] = []  # by the broker, in its order
    received = {worker.name: 0 for worker in workers}

    def receive_all(worker: Slow) -> None:
        for other in taken[received[worker.name] :]:
            worker.peers.receive(status(other.name, takes_frames=False))
        received[worker.name] = len(taken)

    waiting = list(workers)
    while waiting or any(worker.pubacks for worker in workers):
        if waiting and chance.random() < 0.5:
            worker = waiting.pop(chance.randrange(len(waiting)))
            worker.pacing.check()
            if worker.pubacks:
                taken.append(worker)
        else:
            worker = chance.choice(workers)
            receive_all(worker)  # what the broker took before, it has sent before
            worker.puback()
    assert any(worker.subscribed for worker in workers)
