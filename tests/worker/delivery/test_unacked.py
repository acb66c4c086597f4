"""Frames in hand: what is acked, when, and on which connection."""

from __future__ import annotations

from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.mqtt.packets import Delivery
from worker.delivery.frame import Frame
from worker.delivery.unacked import Unacked


class Broker:
    """Takes the acks; as a connection does, none for an earlier one."""

    def __init__(self) -> None:
        self.epoch = 1
        self.acked: List[Tuple[int, int]] = []
        self.unacked = Unacked(self.ack)

    def ack(self, delivery: Delivery) -> None:
        if delivery.epoch == self.epoch:
            self.acked.append((delivery.epoch, delivery.mid))

    def deliver(self, mid: int, payload: bytes, qos: int = 1, retain: bool = False) -> Tuple[Frame, bool]:
        delivery = Delivery("t", payload, qos=qos, retain=retain, mid=mid, epoch=self.epoch)
        frame = Frame.receive(delivery, "door")
        return frame, self.unacked.admit(frame)

    def reconnect(self, session_present: bool = True) -> None:
        self.unacked.lost()
        self.epoch += 1
        self.unacked.connected(session_present)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@given(st.permutations(range(6)))
def test_acks_keep_the_order_of_receipt(settled: List[int]) -> None:
    broker = Broker()
    frames = [broker.deliver(mid, b"%d" % mid)[0] for mid in range(6)]
    for number in settled:
        broker.unacked.settle(frames[number])
    assert broker.acked == [(1, mid) for mid in range(6)]
    assert len(broker.unacked) == 0


def test_a_retained_copy_does_not_stand_for_the_frame_that_is_delivered_again(broker: Broker) -> None:
    """Mosquitto sends both after a reconnect, with the same payload; only one of them was in hand."""
    frame, _ = broker.deliver(1, b"a")
    broker.reconnect()
    copy, new = broker.deliver(1, b"a", retain=True)
    assert new
    broker.unacked.settle(copy)
    _, new = broker.deliver(2, b"a")
    assert not new
    broker.unacked.settle(frame)
    assert broker.acked == [(2, 1), (2, 2)]


def test_nothing_is_acked_before_what_came_before_it(broker: Broker) -> None:
    first, _ = broker.deliver(1, b"a")
    second, _ = broker.deliver(2, b"b")
    broker.unacked.settle(second)
    assert broker.acked == []
    assert len(broker.unacked) == 2
    broker.unacked.settle(first)
    assert broker.acked == [(1, 1), (1, 2)]


def test_a_redelivered_frame_goes_on_as_it_was(broker: Broker) -> None:
    """It is in hand already: not decoded once more, and acked under its new message id."""
    frame, new = broker.deliver(7, b"a")
    assert new
    broker.reconnect()
    _, new = broker.deliver(1, b"a")
    assert not new
    assert len(broker.unacked) == 1
    broker.unacked.settle(frame)
    assert broker.acked == [(2, 1)]
    assert len(broker.unacked) == 0


def test_settled_while_the_connection_was_away(broker: Broker) -> None:
    """The answer is out, only the ack was not: the redelivery is acked and nothing else."""
    blocker, _ = broker.deliver(1, b"slow")
    done, _ = broker.deliver(2, b"fast")
    broker.unacked.settle(done)
    broker.reconnect()
    broker.deliver(1, b"slow")
    assert not broker.deliver(2, b"fast")[1]
    assert broker.acked == []
    broker.unacked.settle(blocker)
    assert broker.acked == [(2, 1), (2, 2)]


def test_an_answered_frame_that_never_comes_again_is_not_waited_for(broker: Broker) -> None:
    """The session is still there, but another has adopted and drained it meanwhile."""
    broker.deliver(1, b"slow")
    done, _ = broker.deliver(2, b"fast")
    working, _ = broker.deliver(3, b"c")
    broker.unacked.settle(done)
    broker.reconnect()
    broker.deliver(1, b"slow")
    assert len(broker.unacked) == 2, "one in order, and one at work"
    broker.unacked.settle(working)
    assert len(broker.unacked) == 1
    assert not broker.deliver(2, b"fast")[1], "it was delivered again after all"
    assert len(broker.unacked) == 2


def test_redelivery_in_another_order_is_acked_in_that_order(broker: Broker) -> None:
    one, _ = broker.deliver(1, b"a")
    two, _ = broker.deliver(2, b"b")
    broker.reconnect()
    broker.deliver(1, b"b")
    broker.deliver(2, b"a")
    broker.unacked.settle(one)
    assert broker.acked == []
    broker.unacked.settle(two)
    assert broker.acked == [(2, 1), (2, 2)]


def test_the_same_picture_twice_is_two_frames(broker: Broker) -> None:
    """A camera may send the same bytes again: each delivery is answered and acked."""
    first, new_first = broker.deliver(1, b"same")
    second, new_second = broker.deliver(2, b"same")
    assert first.frame_id == second.frame_id
    assert new_first
    assert new_second
    broker.reconnect()
    assert [broker.deliver(mid, b"same")[1] for mid in (1, 2, 3)] == [False, False, True]


def test_a_session_that_is_gone_delivers_nothing_again(broker: Broker) -> None:
    frame, _ = broker.deliver(1, b"a")
    broker.reconnect(session_present=False)
    assert len(broker.unacked) == 0
    broker.unacked.settle(frame)
    assert broker.acked == []
    assert broker.deliver(1, b"a")[1]


def test_an_answered_frame_that_does_not_come_again_is_forgotten(broker: Broker) -> None:
    """Another adopted the session, or the broker's database is older: its like is a new frame, some day."""
    broker.deliver(1, b"b")
    answered, _ = broker.deliver(2, b"c")
    broker.unacked.settle(answered)
    broker.reconnect()
    assert not broker.deliver(1, b"b")[1]
    broker.reconnect()
    assert broker.deliver(1, b"c")[1]
    assert not broker.deliver(2, b"b")[1], "that one has no answer yet"


def test_what_needs_no_ack_is_answered_and_forgotten(broker: Broker) -> None:
    """It never comes again: one like it, later, is another frame."""
    working, _ = broker.deliver(0, b"a", qos=0)
    broker.reconnect()
    assert len(broker.unacked) == 1
    assert broker.deliver(0, b"a", qos=0)[1]
    broker.unacked.settle(working)
    assert len(broker.unacked) == 1
    assert not broker.unacked._awaited
