"""Leaving: take nothing new, answer what is in hand and what the broker still holds, end the session.

draining ── announced, so that others step in ──> unsubscribed ── nothing left ──> offline, session ended
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Optional, Sequence

from wire.connection import Connection
from worker.drain import Drain
from worker.inbox import Inbox
from worker.pacing import Pacing
from worker.presence import Presence
from worker.settings import WorkerSettings
from worker.watchdog import notify

log = logging.getLogger(__name__)

#: Seconds in which one that has stepped aside must have stepped in, before a worker leaves.
STEP_IN_TIMEOUT = 2.0
_TICK = 0.02


class Leaving:
    """How one worker leaves."""

    def __init__(
        self,
        settings: WorkerSettings,
        connection: Connection,
        subscriptions: Sequence[str],
        inbox: Inbox,
        presence: Presence,
        pacing: Pacing,
    ) -> None:
        """Args:
        settings: the worker's.
        connection: holds its session.
        subscriptions: where its frames come from.
        inbox: its frames in hand.
        presence: its status, and the other workers.
        pacing: whether it takes frames.
        """
        self._settings = settings
        self._connection = connection
        self._subscriptions = subscriptions
        self._inbox = inbox
        self._presence = presence
        self._pacing = pacing
        #: Empties the session, once it has begun; it must hear what the session delivers.
        self.drain: Optional[Drain] = None

    def leave(self, look_after: Callable[[], None], hung_up_on: Callable[[], bool]) -> int:
        """Leave for good.

        Args:
            look_after: does what is due while the worker lives; raises what keeps it from going on.
            hung_up_on: whether the connection is lost again and again, so that it is no use to wait for it.

        Returns:
            0, or 1 if frames were left: those stay in the session, for the next worker of this id. So do
            those that come to it, if the broker could not be told to deal it no more.
        """
        deadline = time.monotonic() + self._settings.drain_timeout
        self._presence.state = "draining"
        notify("STOPPING=1")
        log.info("draining: %d frames in hand; interrupt again to leave at once", self._presence.in_hand())
        if self._broker_is_away():
            log.info("waiting for the broker, %g s at most", self._settings.drain_timeout)
        self._announce()
        self.drain = Drain(self._connection, self._inbox, self._subscriptions, self._presence.publication)
        while not self._finished():
            look_after()
            if time.monotonic() > deadline or hung_up_on():
                return self._leave_session()
            time.sleep(_TICK)
        self._connection.publish(self._presence.publication("offline"))
        self._connection.close(session_expiry=0)
        log.info("left with nothing in hand")
        return 0

    def _announce(self) -> None:
        """Let those that have stepped aside step in first: frames that nobody subscribes to are lost.

        Who has announced before the PUBACK of this worker's status to step aside has been heard by then; who
        does so later has heard that this one leaves, and stays.
        """
        told = threading.Event()

        def announce() -> None:
            self._pacing.leave()
            self._connection.publish(self._presence.publication(on_puback=lambda code: told.set()))

        self._connection.call(announce)
        peers, deadline = self._presence.peers, time.monotonic() + STEP_IN_TIMEOUT
        while self._connection.connected.is_set() and time.monotonic() < deadline:
            if told.is_set() and (peers.takers() or not peers.aside()):
                return
            time.sleep(_TICK)

    def _finished(self) -> bool:
        assert self.drain is not None
        never_connected = not self._connection.epoch
        return never_connected or (self._connection.connected.is_set() and self.drain.finished())

    def _leave_session(self) -> int:
        if self._broker_is_away():
            log.warning("the broker is away: it deals frames to this worker until the next start")
        else:
            log.warning("%d frames are left with the broker, for the next start", len(self._inbox))
        self._connection.close(send_will=True)
        return 1

    def _broker_is_away(self) -> bool:
        """Whether the session, still subscribed, has to be ended, and the broker is not there for that."""
        return self._connection.epoch > 0 and not self._connection.connected.is_set()
