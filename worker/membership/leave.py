"""Leaving: take nothing new, answer what is in hand and what the broker still holds, end the session.

draining ── announced, so that others step in ──> unsubscribed ── nothing left ──> offline, session ended
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Optional

from wire.mqtt.connection import Connection
from worker.delivery.unacked import Unacked
from worker.membership.pacing import Pacing
from worker.membership.presence import Presence
from worker.membership.session_drain import Drain
from worker.settings import WorkerSettings
from worker.watchdog import notify

log = logging.getLogger(__name__)

#: Seconds in which one that has stepped aside must have stepped in, before a worker leaves.
STEP_IN_TIMEOUT = 2.0
#: Seconds to wait for a broker that is away, with nothing in hand: the first try to reach it again comes
#: after 1 s, and containers are often killed 10 s after SIGTERM.
AWAY_PATIENCE = 1.5
#: Seconds for the last status to reach the broker, where a worker leaves frames behind.
LAST_WORD_TIMEOUT = 1.0
_TICK = 0.02


class Leaving:
    """How one worker leaves."""

    def __init__(
        self,
        settings: WorkerSettings,
        connection: Connection,
        unacked: Unacked,
        presence: Presence,
        pacing: Pacing,
    ) -> None:
        """Args:
        settings: the worker's.
        connection: holds its session.
        unacked: its frames in hand.
        presence: its status, and the other workers.
        pacing: whether it takes frames.
        """
        self._settings = settings
        self._connection = connection
        self._unacked = unacked
        self._presence = presence
        self._pacing = pacing
        #: Set by the PUBACK of the status that says that this worker leaves.
        self._told = threading.Event()
        #: When there was last a broker, or something in hand that is worth waiting for it.
        self._needed = 0.0
        self._left = False
        #: Empties the session, once it has begun; it must hear what the session delivers.
        self.drain: Optional[Drain] = None

    def leave(self, look_after: Callable[[], None], hung_up_on: Callable[[], bool], disputed: bool) -> int:
        """Leave for good.

        Args:
            look_after: does what is due while the worker lives; raises what keeps it from going on.
            hung_up_on: whether the connection is lost again and again, so that it is no use to wait for it.
            disputed: whether another worker seems to use this session, too: it is emptied, and not ended.

        Returns:
            0, or 1 if frames were left: those stay in the session, for the next worker of this id or for its
            adopter. So do those that come to it, if the broker could not be told to deal it no more. Also 1
            if the session is disputed, and stays for that. Where there was no broker since the start, nothing
            is known of the session, and it stays as it was.
        """
        deadline = time.monotonic() + self._settings.drain_timeout
        self._presence.state = "draining"
        notify("STOPPING=1")
        log.info("draining: %d frames in hand; interrupt again to leave at once", self._unacked.unanswered)
        if self._unacked.unanswered and not self._connection.connected.is_set():
            log.info("waiting for the broker, %g s at most", self._settings.drain_timeout)
        if (
            not self._connection.epoch
        ):  # an earlier start's session may be there, and is not known to be empty
            self.leave_session()
            log.info("left with nothing in hand")
            return 0
        self._announce()
        self.drain = Drain(
            self._connection, self._unacked, self._settings.subscriptions, self._presence.publication
        )
        self._needed = time.monotonic()
        while not self._finished():
            look_after()
            if time.monotonic() > deadline or hung_up_on() or self._waits_for_nothing():
                self.leave_session()
                return 1
            time.sleep(_TICK)
        if disputed:
            log.warning("another worker seems to use the session of %s: it stays", self._presence.worker_id)
            self.leave_session()
            return 1
        self._left = True
        self._connection.publish(self._presence.publication("offline"))
        self._connection.close(session_expiry=0)
        log.info("left with nothing in hand")
        return 0

    def leave_session(self) -> None:
        """Leave at once; what the session holds stays with the broker, where this worker is now lost."""
        if self._left:
            return
        said, after = threading.Event(), "its next start, or another of its group after --adopt-after"
        if self._connection.connected.is_set():
            self._publish_status("lost", said)
            said.wait(LAST_WORD_TIMEOUT)
        worker, count = self._presence.worker_id, self._unacked.unanswered
        if said.is_set():
            log.warning("%d frames in hand go back to the broker, which gives them to %s", count, after)
        elif self._connection.epoch:
            log.warning(
                "the broker is away: the session of %s stays there for %d s, with %d frames in hand and what "
                "it is dealt meanwhile; all goes to %s",
                *(worker, self._settings.session_expiry, count, after),
            )
        self._connection.close(send_will=True, timeout=LAST_WORD_TIMEOUT)

    def _announce(self) -> None:
        """Let those that have stepped aside step in first: frames that nobody subscribes to are lost.

        Who has announced before the PUBACK of this worker's status to step aside has been heard by then; who
        does so later has heard that this one leaves, and stays.
        """
        self._connection.call(self._pacing.leave)
        self._publish_status("draining", self._told)
        peers, deadline = self._presence.peers, time.monotonic() + STEP_IN_TIMEOUT
        while self._connection.connected.is_set() and time.monotonic() < deadline:
            if self._told.is_set() and (peers.takers() or not peers.aside()):
                return
            time.sleep(_TICK)

    def _publish_status(self, state: str, taken: threading.Event) -> None:
        """Publish a status; the event is set by its PUBACK."""

        def publish() -> None:
            self._connection.publish(self._presence.publication(state, on_puback=lambda code: taken.set()))

        self._connection.call(publish)

    def _finished(self) -> bool:
        assert self.drain is not None
        return self._connection.connected.is_set() and self.drain.finished()

    def _waits_for_nothing(self) -> bool:
        """Whether nothing is in hand, and the broker has been away for a while.

        Frames in hand may still be answered when it returns; without any, waiting would only save those that
        it deals to the session meanwhile, and these are its next start's or its adopter's.
        """
        now = time.monotonic()
        if self._unacked.unanswered or self._is_heard():
            self._needed = now
        return now - self._needed > AWAY_PATIENCE

    def _is_heard(self) -> bool:
        """Whether the broker is there: a line may be dead without a word, so only its PUBACK tells."""
        return self._connection.connected.is_set() and self._told.is_set()
