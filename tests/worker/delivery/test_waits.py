"""How long a frame can have waited with the broker: not at all while there was room for it in the window."""

from __future__ import annotations

import time
from typing import List

import pytest

from wire.mqtt.packets import Delivery
from worker.delivery.frame import Frame
from worker.delivery.unacked import EMPTY_AFTER_SECONDS, Unacked
from worker.settings.worker import MOST_WINDOW


class Session:
    """Frames in hand, in a window of four or of as many as are given, on ticks of the test's own."""

    def __init__(self, window: int = 4) -> None:
        self.seconds = 1000.0
        self.unacked = Unacked(lambda delivery: None, window)

    def deliver(self, retain: bool = False) -> Frame:
        payload = str(self.seconds).encode()
        frame = Frame.receive(Delivery("t", payload, qos=1, retain=retain, mid=1, epoch=1), "door")
        frame.received_ticks = self.seconds
        self.unacked.admit(frame)
        return frame


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Session:
    made = Session(*getattr(request, "param", ()))
    monkeypatch.setattr(time, "perf_counter", lambda: made.seconds)
    return made


def test_it_is_not_known_what_waits_when_a_worker_begins(session: Session) -> None:
    assert session.deliver().longest_wait is None
    session.unacked.connected(session_present=True)
    assert session.deliver().longest_wait is None
    session.seconds += EMPTY_AFTER_SECONDS
    assert session.deliver().longest_wait is None, "two were in hand, of four"


def test_nothing_waits_while_there_is_room(session: Session) -> None:
    session.unacked.connected(session_present=True)
    session.seconds += EMPTY_AFTER_SECONDS
    frames: List[Frame] = [session.deliver() for _ in range(4)]
    assert [frame.longest_wait for frame in frames] == [0, 0, 0, 0]
    session.seconds += 5
    assert session.deliver().longest_wait == 5, "since there was room last"
    for frame in frames:
        session.unacked.settle(frame)
    assert session.deliver(retain=True).longest_wait is None
    session.seconds += 100


@pytest.mark.parametrize("session", [(32,), (48,), (MOST_WINDOW,)], indirect=True)
def test_a_broker_that_sends_few_ahead_has_more_whatever_the_window_is(session: Session) -> None:
    session.unacked.connected(session_present=True)
    in_hand = [session.deliver() for _ in range(20)]  # all that Mosquitto sends where nobody has set more
    for _ in range(50):
        session.seconds += EMPTY_AFTER_SECONDS / 10
        session.unacked.settle(in_hand.pop(0))
        in_hand.append(session.deliver())
        assert in_hand[-1].longest_wait is None


def test_what_came_while_the_connection_was_lost_has_waited_as_long(session: Session) -> None:
    session.unacked.connected(session_present=True)
    session.seconds += EMPTY_AFTER_SECONDS
    session.unacked.lost()
    session.seconds += 3600
    session.unacked.connected(session_present=True)
    assert session.deliver().longest_wait == 3600
    frame = session.deliver()
    session.seconds += 10
    assert session.deliver().longest_wait == 3610
    session.unacked.settle(frame)


def test_an_answer_while_the_connection_is_lost_makes_no_room(session: Session) -> None:
    session.unacked.connected(session_present=True)
    session.seconds += EMPTY_AFTER_SECONDS
    frame = session.deliver()
    session.unacked.lost()
    session.seconds += 100
    session.unacked.settle(frame)
    session.seconds += 100
    session.unacked.connected(session_present=True)
    assert session.deliver().longest_wait == 200


def test_it_is_not_known_what_waits_in_the_session_of_another(session: Session) -> None:
    adopted = Unacked(lambda delivery: None)
    frame = session.deliver()
    session.seconds += 100
    adopted.admit(frame)
    assert frame.longest_wait is None
