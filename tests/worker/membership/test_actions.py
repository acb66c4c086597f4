"""From when on an action counts, by what a connection delivers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.harness import wait_for
from wire.messages import WorkerAction
from wire.mqtt.packets import Delivery
from worker.life import Life
from worker.membership.actions import Actions
from worker.metrics import Metrics
from worker.settings import WorkerSettings
from worker.worker import Worker

NOT_ASKED = cast(Any, None)


class Told:
    """The actions of a worker, and what comes to it."""

    def __init__(self, folder: Path, may_restart: bool = True) -> None:
        self.life = Life(may_restart)
        settings = WorkerSettings(state_dir=folder)
        self.actions = Actions(
            Worker("w1", settings, NOT_ASKED, NOT_ASKED, NOT_ASKED, Metrics(), "", self.life)
        )

    def status(self, payload: bytes, qos: int = 1) -> None:
        self.actions.receive_status(Delivery("nanofleet/workers/w1", payload, qos, False, 1, 1))

    def act(self, action: Any) -> bool:
        """Whether the worker is to leave after an action."""
        payload = WorkerAction(action=action).encode()
        self.actions.receive(Delivery("nanofleet/control/w1/action", payload, 1, False, 1, 1))
        return self.life.leaving.is_set()


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_an_action_counts_behind_the_status_of_this_very_connection(told: Told) -> None:
    assert not told.act("drain")
    told.actions.connected(b"first", in_order=True)
    assert not told.act("drain")
    told.status(b"another process'")
    told.status(b"first", qos=0)  # it does not wait for its turn
    assert not told.act("drain")
    told.actions.connected(b"second", in_order=True)
    told.status(b"first")  # queued while the connection was lost
    assert not told.act("drain")
    told.status(b"second")
    assert told.act("drain")
    assert not told.life.restarts


def test_a_broker_that_keeps_no_order_may_deliver_old_ones_a_little_later(told: Told) -> None:
    told.actions.connected(b"first", in_order=False)
    told.status(b"first")
    assert not told.act("restart")
    wait_for(lambda: told.act("restart"), what="it counts")
    assert told.life.restarts


def test_drain_takes_a_restart_back_and_not_the_other_way_round(told: Told) -> None:
    told.actions.connected(b"first", in_order=True)
    told.status(b"first")
    for action, restarts in (("restart", True), ("drain", False), ("restart", False)):
        assert told.act(action)
        assert told.life.restarts is restarts


def test_no_restart_where_the_broker_would_restart_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(tmp_path, may_restart=False)
    told.actions.connected(b"first", in_order=True)
    told.status(b"first")
    assert not told.act("restart")
    assert "no restart with --broker embedded" in caplog.text
    assert told.act("drain")
