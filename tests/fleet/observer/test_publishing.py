"""What waits for the broker, and what must not be published any more."""

from __future__ import annotations

import logging
from typing import List

import pytest

from fleet.observer.publishing import MOST_IN_FLIGHT, MOST_WAITING, Publishing
from wire.mqtt.packets import Publication


class Broker:
    """Takes publications, and confirms them when it is told to."""

    def __init__(self) -> None:
        self.may_publish = True
        self.came: List[Publication] = []
        self.publishing = Publishing(self.came.append, lambda: self.may_publish)

    def put(self, topic: str, payload: str, retain: bool = True) -> None:
        self.publishing.put(Publication(topic, payload.encode(), retain=retain))

    def confirm(self, number: int, reason_code: int = 0) -> None:
        on_puback = self.came[number].on_puback
        assert on_puback is not None
        on_puback(reason_code)

    def texts(self) -> List[str]:
        return [f"{each.topic}={each.payload.decode()}" for each in self.came]


@pytest.fixture
def broker() -> Broker:
    """A broker whose window is full."""
    broker = Broker()
    for n in range(MOST_IN_FLIGHT):
        broker.put(f"first/{n}", "x")
    return broker


def test_of_each_topic_the_latest_waits_and_each_event(broker: Broker) -> None:
    for n in range(3):
        broker.put("state", str(n))
        broker.put("event", str(n), retain=False)
    assert len(broker.came) == MOST_IN_FLIGHT
    for n in range(4):
        broker.confirm(n)
    assert broker.texts()[MOST_IN_FLIGHT:] == ["state=2", "event=0", "event=1", "event=2"]
    assert not broker.publishing.idle
    for n in range(4, len(broker.came)):
        broker.confirm(n)
    assert broker.publishing.idle


def test_nothing_leaves_once_another_may_be_active(broker: Broker) -> None:
    broker.put("state", "old")
    broker.may_publish = False
    for n in range(MOST_IN_FLIGHT):
        broker.confirm(n)
    broker.publishing.pump()
    assert len(broker.came) == MOST_IN_FLIGHT


def test_a_topic_that_somebody_empties_stays_empty(broker: Broker) -> None:
    broker.put("waiting", "state")
    broker.publishing.empty("waiting")
    broker.publishing.empty("first/0")  # may have reached the broker after the message that has emptied it
    broker.publishing.empty("unknown")
    broker.confirm(0)
    assert broker.texts()[MOST_IN_FLIGHT:] == ["first/0="]
    broker.publishing.empty("first/0")  # the echo of our own
    for n in range(1, len(broker.came)):
        broker.confirm(n)
    assert len(broker.came) == MOST_IN_FLIGHT + 1
    assert broker.publishing.idle


def test_a_refusal_is_logged_once(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(MOST_IN_FLIGHT):
        broker.confirm(n, 0x87)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "the broker refuses first/0 (0x87): its ACL must let observers write there"


def test_a_broker_that_takes_nothing_does_not_fill_the_memory(broker: Broker) -> None:
    for n in range(MOST_WAITING + 100):
        broker.put("event", str(n), retain=False)
    for n in range(MOST_IN_FLIGHT + MOST_WAITING):
        broker.confirm(n)
    assert len(broker.came) == MOST_IN_FLIGHT + MOST_WAITING
    assert broker.publishing.idle


def test_several_of_one_topic_keep_their_order_and_only_the_last_is_replaced(broker: Broker) -> None:
    def put(*payloads: str) -> None:
        broker.publishing.put(*(Publication("config", text.encode(), retain=True) for text in payloads))

    put("first")
    put("farewell", "second")
    put("third")
    for n in range(2):
        broker.confirm(n)
    assert broker.texts()[MOST_IN_FLIGHT:] == ["config=farewell", "config=third"]


def test_one_that_wants_its_puback_gets_it(broker: Broker) -> None:
    heard: List[int] = []
    broker.publishing.put(Publication("config", b"x", retain=True, on_puback=heard.append))
    broker.confirm(0)
    broker.confirm(MOST_IN_FLIGHT, 0x87)
    assert heard == [0x87]
