"""Leaving: take nothing new, answer what is in hand and what the broker still holds, end the session.

draining ── announced, so that others step in ──> unsubscribed ── nothing left ──> offline, session ended
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Optional

from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.waiting import wait_until
from worker.delivery.unacked import Unacked
from worker.membership.dispute import Dispute
from worker.membership.pacing import Pacing
from worker.membership.presence import Presence
from worker.membership.session_drain import Drain
from worker.settings import WorkerSettings
from worker.watchdog import notify

log = logging.getLogger(__name__)

#: Seconds in which a worker that has stepped aside must have stepped in, before this one leaves.
STEP_IN_TIMEOUT = 2.0
#: Seconds to wait for a broker that is away, with nothing in hand: the first try to reach it again comes
#: after 1 s, and containers are often killed 10 s after SIGTERM.
AWAY_TIMEOUT = 1.5
#: Seconds for the last status to reach the broker, where a worker leaves frames behind.
LAST_STATUS_TIMEOUT = 1.0
_STEP_SECONDS = 0.02


class Leaving:
    """How one worker leaves.

    Attributes:
        drain: empties the session, once that has begun; from then on `receive` must get what it delivers.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        connection: Connection,
        unacked: Unacked,
        presence: Presence,
        pacing: Pacing,
        dispute: Dispute,
    ) -> None:
        """Prepare to leave.

        Args:
            settings: the worker's.
            connection: holds its session.
            unacked: its frames in hand.
            presence: its status, and the other workers.
            pacing: whether it takes frames.
            dispute: whether another worker seems to use its session.
        """
        self._settings = settings
        self._connection = connection
        self._unacked = unacked
        self._presence = presence
        self._pacing = pacing
        self._dispute = dispute
        #: Set by the PUBACK of the status `draining`.
        self._announced = threading.Event()
        #: When there was last a broker, or something in hand that is worth waiting for it.
        self._needed = 0.0
        self._left = False
        self.drain: Optional[Drain] = None

    def leave(self, check: Callable[[], None], disputed: bool, restarts: bool) -> int:
        """Leave for good.

        Args:
            check: does what is due while the worker lives; raises what has failed.
            disputed: whether another worker may use this session, too: it is emptied, and not ended.
            restarts: whether the process begins again after that.

        Returns:
            0, or 1 if frames were left: those stay in the session, for the next worker of this id or for its
            adopter. So do those that come to it, if the broker could not be asked to deliver no more there.
            Also 1 if the session is disputed, and stays for that. Where there was no broker since the start,
            nothing is known of the session, and it stays as it was.
        """
        deadline = time.monotonic() + self._settings.drain_timeout
        self._presence.state = "draining"
        if not restarts:  # systemd kills a service that has said so and goes on
            notify("STOPPING=1")
        log.info("draining: %d frames in hand; interrupt again to leave at once", self._unacked.unanswered)
        if self._unacked.unanswered and not self._connection.connected.is_set():
            log.info("waiting for the broker, %g s at most", self._settings.drain_timeout)
        if not self._connection.epoch:
            self.leave_session()  # an earlier start's may be there, and is not known to be empty
            return self._left_with_nothing()
        self._announce()
        if not self._drained(check, deadline):
            self.leave_session()
            return 1
        if disputed:
            log.warning("another worker seems to use the session of %s: it stays", self._presence.worker_id)
            self.leave_session()
            return 1
        self._left = True
        self._connection.publish(self._presence.publication("offline"))
        self._connection.close(session_expiry=0)
        return self._left_with_nothing()

    def receive(self, delivery: Delivery) -> None:
        """Note what the session delivers while it is drained. In the network thread."""
        assert self.drain is not None
        if delivery.topic == self._presence.topic:
            self.drain.receive_marker(delivery.payload)
        elif self._settings.camera_of(delivery.topic):
            self.drain.receive_frame()

    def leave_session(self) -> None:
        """Leave at once; what the session holds stays with the broker, where this worker is now lost."""
        if self._left:
            return
        confirmed, after = threading.Event(), "its next start, or another of its group after --adopt-after"
        if self._connection.connected.is_set():
            self._publish_status("lost", confirmed)
            wait_until(confirmed.is_set, LAST_STATUS_TIMEOUT, step=_STEP_SECONDS)
        worker, count = self._presence.worker_id, self._unacked.unanswered
        if confirmed.is_set():
            log.warning("%d frames in hand go back to the broker, which gives them to %s", count, after)
        elif self._connection.epoch:
            log.warning(
                "the broker is away: the session of %s stays there for %d s, with %d frames in hand and what "
                "comes to it meanwhile; all goes to %s",
                worker,
                self._settings.session_expiry,
                count,
                after,
            )
        self._connection.close(send_will=True, timeout=LAST_STATUS_TIMEOUT)

    def _left_with_nothing(self) -> int:
        log.info("left with nothing in hand")
        return 0

    def _announce(self) -> None:
        """Let those that have stepped aside step in first: frames without a subscriber are lost.

        A worker that has announced before the PUBACK of this worker's status that it steps aside is known by
        then; one that does so later knows that this one leaves, and stays.
        """
        self._connection.call(self._pacing.leave)
        self._publish_status("draining", self._announced)
        wait_until(self._is_replaced, STEP_IN_TIMEOUT, step=_STEP_SECONDS)

    def _is_replaced(self) -> bool:
        """Whether another takes the frames, or none can: none is there, or this one has no connection."""
        if not self._connection.connected.is_set():
            return True
        peers = self._presence.peers
        return self._announced.is_set() and bool(peers.takers() or not peers.aside())

    def _publish_status(self, state: str, confirmed: threading.Event) -> None:
        """Publish a status; the event is set by its PUBACK."""

        def publish() -> None:
            self._connection.publish(
                self._presence.publication(state, on_puback=lambda code: confirmed.set())
            )

        self._connection.call(publish)

    def _drained(self, check: Callable[[], None], deadline: float) -> bool:
        """Empty the session; False if that takes too long, or waits for a broker in vain."""
        self.drain = drain = Drain(
            self._connection, self._unacked, self._settings.subscriptions, self._presence.publication
        )
        self._needed = time.monotonic()
        while not (self._connection.connected.is_set() and drain.finished()):
            check()
            if time.monotonic() > deadline or self._dispute.is_hung_up_on or self._waits_for_nothing():
                return False
            time.sleep(_STEP_SECONDS)
        return True

    def _waits_for_nothing(self) -> bool:
        """Whether nothing is in hand, and the broker has been away for a while.

        Frames in hand may still be answered when it returns; without any, waiting would only save those that
        it delivers to the session meanwhile, and these are its next start's or its adopter's.
        """
        now = time.monotonic()
        if self._unacked.unanswered or self._is_answered():
            self._needed = now
        return now - self._needed > AWAY_TIMEOUT

    def _is_answered(self) -> bool:
        """Whether the broker is there: a connection may be dead without a sign, so its PUBACK decides."""
        return self._connection.connected.is_set() and self._announced.is_set()
