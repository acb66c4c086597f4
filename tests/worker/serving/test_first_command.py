"""Reading the retained model commands before there is a worker's session: all of them, or none in time."""

from __future__ import annotations

import threading
from typing import List

import pytest

from tests.fleets import Fleet
from tests.ports import free_port
from wire.broker import Broker, BrokerSettings
from wire.errors import NanofleetError
from worker.serving.first_command import read_commands

NEVER = threading.Event()


def broker_at(url: str) -> Broker:
    return BrokerSettings(broker=url).open_broker()


def test_what_is_retained_is_read_by_topic(root: str, fleet: Fleet, mosquitto_url: str) -> None:
    ours, fleets, others = (f"{root}/control/{name}" for name in ("w1/model", "model", "w2/model"))
    listener = fleet.listen("control/#")
    for topic in (ours, others):
        listener.publish(topic, topic.encode(), retain=True)
    listener.publish(fleets, b"not retained")
    found = read_commands(broker_at(mosquitto_url), [ours, fleets], timeout=30, stop=NEVER)
    assert found == {ours: ours.encode()}


def test_a_broker_without_commands_has_none(mosquitto_url: str, root: str) -> None:
    assert read_commands(broker_at(mosquitto_url), [f"{root}/control/model"], timeout=30, stop=NEVER) == {}


def test_without_a_broker_there_is_no_answer() -> None:
    calls: List[None] = []
    broker = broker_at(f"mqtt://127.0.0.1:{free_port()}")
    found = read_commands(
        broker, ["control/model"], timeout=0.3, stop=NEVER, alive=lambda: calls.append(None)
    )
    assert found is None
    assert calls


def test_a_worker_that_leaves_waits_no_longer() -> None:
    leaving = threading.Event()
    broker = broker_at(f"mqtt://127.0.0.1:{free_port()}")
    found = read_commands(
        broker, ["control/model"], timeout=float("inf"), stop=leaving, alive=lambda: leaving.set()
    )
    assert found is None


def test_what_ends_the_waiting_is_raised() -> None:
    def alive() -> None:
        raise NanofleetError("no more")

    broker = broker_at(f"mqtt://127.0.0.1:{free_port()}")
    with pytest.raises(NanofleetError, match="no more"):
        read_commands(broker, ["control/model"], timeout=30, stop=NEVER, alive=alive)
