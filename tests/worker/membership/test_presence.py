"""Duplicates of a worker, and what only an earlier process has left: by the statuses that come."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Optional, cast

import pytest

from tests.worker.fleet import status
from wire.errors import DuplicateMember
from wire.messages import Beacon, utc_now
from wire.mqtt.packets import Delivery
from worker.life import Life
from worker.membership.peers import Peers
from worker.membership.presence import Presence
from worker.metrics import Metrics
from worker.settings import WorkerSettings
from worker.worker import Worker

NOT_ASKED = cast(Any, None)


class Statuses:
    """A presence, and the statuses under its id that come to it."""

    def __init__(self, folder: Path) -> None:
        settings = WorkerSettings(state_dir=folder)
        peers = Peers("w1", settings.group, settings.inputs, settings.adopt_after)
        worker = Worker("w1", settings, NOT_ASKED, NOT_ASKED, NOT_ASKED, Metrics(), "", Life())
        self.presence = Presence(worker, NOT_ASKED, peers, NOT_ASKED)
        self.own = Beacon.decode(self.presence.beacon().payload).instance
        self.epoch = 1

    def receive(
        self,
        instance: str,
        state: str = "online",
        *,
        retain: bool = False,
        qos: int = 1,
        sent_at: Optional[datetime] = None,
    ) -> None:
        message = status("w1", state, instance=instance, sent_at=sent_at or utc_now())
        topic, payload = self.presence.topic, message.encode()
        self.presence.receive(Delivery(topic, payload, qos=qos, retain=retain, mid=1, epoch=self.epoch))


@pytest.fixture
def statuses(tmp_path: Path) -> Statuses:
    return Statuses(tmp_path)


def test_one_that_starts_later_makes_it_leave(statuses: Statuses) -> None:
    statuses.receive("earlier", retain=True)
    statuses.receive(statuses.own)
    with pytest.raises(DuplicateMember):
        statuses.receive("later")


def test_one_that_was_there_before_is_not_heeded(statuses: Statuses) -> None:
    statuses.receive("earlier", retain=True)
    statuses.receive(statuses.own)
    statuses.receive("earlier")
    statuses.epoch = 2
    statuses.receive("earlier", retain=True)


def test_one_that_takes_the_session_over_again_makes_it_leave(statuses: Statuses) -> None:
    """Mosquitto 2.0 does not say so: all there is to see is a status that it retains."""
    statuses.receive(statuses.own)
    for epoch in (2, 3):
        statuses.epoch = epoch
        if epoch == 3:
            with pytest.raises(DuplicateMember):
                statuses.receive("later", retain=True)
        else:
            statuses.receive("later", retain=True)


def test_a_broker_that_has_an_older_state_again_makes_nobody_leave(statuses: Statuses) -> None:
    """It was killed, and what it had last written to its disk is from before this process."""
    long_ago = utc_now() - timedelta(minutes=20)
    statuses.receive("the last one", "lost", retain=True)
    statuses.receive(statuses.own)
    for epoch, before in ((2, "the last one"), (3, "the one before that"), (4, "the one before that")):
        statuses.epoch = epoch
        statuses.receive(before, retain=True, sent_at=long_ago)
        statuses.receive(before, retain=True, qos=0, sent_at=long_ago)
        statuses.receive(statuses.own)


def test_what_its_session_had_queued_makes_nobody_leave(statuses: Statuses) -> None:
    """Its own status comes at QoS 0 as well, which may overtake what waits for room in the window."""
    statuses.receive("the last one", "lost", retain=True)
    statuses.receive(statuses.own, qos=0)
    for before in ("the one before that", "the last one"):
        statuses.receive(before)
    statuses.receive(statuses.own)
    with pytest.raises(DuplicateMember):
        statuses.receive("later")
