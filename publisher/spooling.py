"""What a spool does for a publisher: a PUBACK makes no frame done, and it is sent again, as often as need be.

A frame is done when it is answered, dropped to make room, unreadable on the disk, or refused for good.

keep ──> disk ── as the window has room ──> sent ── PUBACK ──> answered: removed
                                            ^        │ └──── refused for good: set aside (publisher/refused)
                                            └────────┘ no answer: sent again, after 1, 2, 4, … times as long
"""

from __future__ import annotations

import logging
from typing import Callable

from publisher.refused import is_final
from publisher.resend import Feeder
from publisher.sent import Sent
from publisher.spool import LargerThanSpool, Spool, SpoolFull
from publisher.unanswered import Unanswered
from wire.mqtt.pubacks import NO_SUBSCRIBERS, PASSING

log = logging.getLogger(__name__)

#: Seconds after which a frame is sent again that no worker was there to take: at first, and at most. While
#: those in the window wait, no other is sent: a fleet that returns must not wait long for them.
UNTAKEN_SECONDS, MAX_UNTAKEN_SECONDS = 1.0, 15.0


class Spooling:
    """The unanswered frames on the disk. A context manager around the thread that sends them."""

    def __init__(
        self,
        spool: Spool,
        unanswered: Unanswered,
        resend_after: float,
        publish: Callable[[Sent, bytes], None],
        on_done: Callable[[Sent], None],
    ) -> None:
        """Prepare the thread.

        Args:
            spool: entered already.
            unanswered: all frames that are not done; at first those that an earlier run has left.
            resend_after: seconds without an answer after which a frame is sent again, at first.
            publish: sends a frame.
            on_done: receives each frame that is done without an answer: dropped, unreadable or refused.
        """
        self._spool = spool
        self._unanswered = unanswered
        self._restored = list(unanswered.frames.values())
        self._resend_after = resend_after
        self._on_done = on_done
        self._feeder = Feeder(spool, unanswered, publish=publish, on_unreadable=on_done)

    def __enter__(self) -> Spooling:
        self._feeder.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._feeder.__exit__(*exception)

    @property
    def holds_frames(self) -> bool:
        """Whether frames are left for the next run."""
        return bool(self._spool.kept)

    def send(self, sent: Sent, image: bytes, live: bool) -> None:
        """Keep a frame on the disk, and send it once there is room in the window.

        Raises:
            SpoolFull: the spool has no room for it, and it is live, or larger than the spool.
            NoAnswers, Stopped, NotReached, NanofleetError: see `Unanswered.wait_until_at_most`.
        """
        self._keep(sent, image, live)
        self._unanswered.add(sent)
        self._feeder.add(sent)

    def _keep(self, sent: Sent, image: bytes, live: bool) -> None:
        warned = False
        while True:
            try:
                self._spool.put(sent.frame_id, sent.camera, sent.source, sent.captured_at, image)
                return
            except LargerThanSpool:
                raise
            except SpoolFull as full:
                if self._spool.drops_oldest and self._drop_oldest():
                    continue
                if live or not self._unanswered.frames:
                    raise
                if not warned:
                    log.warning("%s: taking no frames until there is room", full)
                    warned = True
            self._unanswered.wait_for_change()

    def _drop_oldest(self) -> bool:
        oldest = self._spool.drop_oldest()
        if oldest is None:
            return False
        sent = self._unanswered.frames.get(oldest.frame_id)
        if sent is not None:
            sent.dropped = True
            self._on_done(sent)
        return True

    def connected(self, session_present: bool) -> None:
        """Send again what an earlier run has left, or what the broker has forgotten."""
        if not self._unanswered.connection.reconnects:
            # Half of the time-out is left for answers to what is sent again.
            after = min(self._resend_after, self._unanswered.timeouts.answer / 2) if session_present else 0.0
            for sent in self._restored:
                self._feeder.add_later(sent, after)
        elif not session_present:
            log.warning("the broker has lost its state: what is unanswered is sent again")
            for sent in self._unanswered.taken():
                self._feeder.add_later(sent, UNTAKEN_SECONDS)

    def on_puback(self, sent: Sent, reason_code: int) -> None:
        """The broker has taken or refused a frame: it is sent again later, or set aside."""
        if sent.refused and reason_code not in PASSING:
            sent.refusals += 1
        if sent.refused and is_final(reason_code, sent.refusals):
            self.set_aside(sent, reason_code)
        elif sent.refused or reason_code == NO_SUBSCRIBERS:
            self._feeder.add_later(sent, UNTAKEN_SECONDS, MAX_UNTAKEN_SECONDS)
        else:
            self._feeder.add_later(sent, self._resend_after)

    def set_aside(self, sent: Sent, reason_code: int) -> None:
        """Send a frame no more that the broker refuses for good."""
        sent.reason_code = reason_code
        self._spool.set_aside(sent.frame_id, reason_code)
        self._on_done(sent)

    def answered(self, sent: Sent) -> None:
        """Remove a frame from the disk."""
        self._spool.remove(sent.frame_id)
