"""A publisher: sends frames, and matches the answers to them by frame id.

without a spool    send ── waits for room in the window ──────────────> connection ──> PUBACK ──> answer
with a spool       send ──> disk ── the spool's thread, as the window ─> connection ──> PUBACK ──> answer
                              ^     has room (publisher/resend)               │ │ none in time
                              ├───────────── again, after 1, 2, 4, … times ───┼─┘
                              └─> set aside (publisher/refused) <── no <──────┘
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from typing import Callable, Collection, Dict, Optional, Sequence

from publisher.patience import Patience
from publisher.refused import is_final
from publisher.resend import Feeder
from publisher.sent import Sent, clock_since_boot
from publisher.spool import LargerThanSpool, Spool, SpoolFull
from wire.broker import Broker
from wire.errors import DecodeError, NanofleetError
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import FRAME_ID_PROPERTY, Rejection, Result
from wire.mqtt.connection import Connection
from wire.mqtt.packets import PACKET_OVERHEAD, Delivery, Publication
from wire.mqtt.pubacks import NO_SUBSCRIBERS, NOT_AUTHORIZED, PASSING
from wire.topics import Topics

log = logging.getLogger(__name__)

#: Seconds for which the broker keeps answers for a publisher that lost its connection.
SESSION_EXPIRY = 300
#: The same for one with a spool, whose next run wants them.
SPOOL_SESSION_EXPIRY = 86_400
#: Seconds after which a frame goes out again that nobody was there to take: at first, and at most. While
#: those that are out wait, nothing else goes out: a fleet that returns must not wait long for them.
NOBODY_THERE, NOBODY_THERE_AT_MOST = 1.0, 15.0


class Stopped(Exception):
    """The run is to end before all is done."""


class NoAnswers(NanofleetError):
    """Nothing was answered for as long as the publisher would wait."""


class Publisher:
    """Frames out, answers in; a context manager around one connection.

    Thread-safe. With `await_answers`, at most `window` frames are sent ahead of their answers: a broker
    whose queue is full drops frames and says success. With a spool, too, a frame that was sent is done
    when it is answered, and not before.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        cameras: Sequence[str],
        *,
        window: int,
        timeout: float,
        patience: float = float("inf"),
        await_answers: bool = True,
        spool: Optional[Spool] = None,
        drop_oldest: bool = False,
        resend_after: float = 15.0,
        on_answer: Callable[[Sent], None] = lambda sent: None,
    ) -> None:
        """Args:
        cameras: the cameras whose answers will be listened to.
        window: frames sent ahead of their answers (or of the broker's PUBACK), at most.
        timeout: seconds without any answer after which those that wait are given up as missing.
        patience: seconds without a connection after which nothing more is waited for.
        await_answers: whether a frame is done with its answer, or already with its PUBACK.
        spool: keeps each frame until its answer; entered already.
        drop_oldest: whether a spool that is full drops its oldest frame, or takes no more.
        resend_after: seconds without an answer after which a frame in the spool goes out again, at first.
        on_answer: hears each frame that is done, in the network thread.
        """
        left = list(spool.kept.values()) if spool else []
        heard = {*cameras, *(kept.camera for kept in left)}
        listen = [of(c) for c in heard for of in (topics.results, topics.rejects)] if await_answers else []
        self.connection = Connection(
            broker,
            spool.client_id if spool else f"nanofleet-publisher-{uuid.uuid4().hex[:12]}",
            on_delivery=self._receive,
            on_connected=self._connected,
            on_lost=lambda: self._patience.lost(),
            subscriptions=dict.fromkeys(listen, 1),
            session_expiry=SPOOL_SESSION_EXPIRY if spool else SESSION_EXPIRY,
            largest_packet=MAX_ANSWER_PACKET,
        )
        #: Set it to have whoever waits raise Stopped.
        self.stop = threading.Event()
        self._topics = topics
        self._await_answers = await_answers
        self._on_answer = on_answer
        self._window = window
        self._timeout = timeout
        self._spool = spool
        self._drop_oldest = drop_oldest
        self._resend_after = resend_after
        self._changed = threading.Condition()
        #: Frames that an earlier run has left in the spool.
        self.restored = [Sent(kept.frame_id, kept.camera, kept.source, kept.captured_at) for kept in left]
        self._waiting: Dict[str, Sent] = {sent.frame_id: sent for sent in self.restored}
        self._patience = Patience(self.connection, timeout, patience)
        self._feeder = spool and Feeder(
            spool,
            self._waiting,
            self._changed,
            window,
            is_connected=self.connection.connected.is_set,
            publish=self._publish,
            on_unreadable=self._done,
        )

    def __enter__(self) -> Publisher:
        self.connection.__enter__()
        if self._feeder:
            self._feeder.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._feeder:
            self._feeder.__exit__(*exception)
        # Answers to what is left in the spool wait with the broker, for the next run.
        keep = self._spool is not None and self._spool.kept
        self.connection.close(session_expiry=None if keep else 0)

    @property
    def max_payload(self) -> int:
        """Bytes of an image that the broker takes; known once connected."""
        return self.connection.maximum_packet_size - PACKET_OVERHEAD - len(self._topics.frames("c" * 64))

    @property
    def unanswered(self) -> int:
        """Frames that are not done."""
        return len(self._waiting)

    def send(self, camera: str, image: bytes, source: str, *, paced: bool = False) -> Sent:
        """Send one frame, once there is room in the window.

        Args:
            camera: whose frame it is.
            image: its bytes.
            source: the caller's own name for it.
            paced: whether the next frame will come anyway, so that waiting would lose it. A spool then takes
                frames ahead of the window.

        Raises:
            SpoolFull: a spool took it not, and `paced` forbids to wait until it does.
            Stopped: `stop` was set, while it waited for room.
            NotReached: there was no connection for longer than `patience`, while it waited for room.
            NanofleetError: the connection has ended.
        """
        self.connection.check()  # also where nothing is waited for: a spool would fill, and nobody send it
        sent = Sent(uuid.uuid4().hex, camera, source, clock=clock_since_boot())
        with self._changed:
            if not (paced and self._spool):
                self._wait_until_at_most(self._window - 1)
        if self._spool:
            self._keep(self._spool, sent, image, paced)
        with self._changed:
            if not self._waiting:
                self._patience.renew()
            self._waiting[sent.frame_id] = sent
        if self._feeder:
            self._feeder.add(sent)
        else:
            self._publish(sent, image)
        return sent

    def wait(self, at_most: float = float("inf")) -> None:
        """Wait until every frame is done or missing, or `at_most` seconds.

        Raises:
            NoAnswers: frames stay in the spool.
            Stopped: `stop` was set.
            NotReached: there was no connection for longer than `patience`.
            NanofleetError: the connection has ended.
        """
        with self._changed:
            self._wait_until_at_most(0, time.monotonic() + at_most)

    def set_aside_unreadable(self, topics: Collection[str]) -> None:
        """Set the frames aside whose answers the broker does not let this member read on these topics."""
        if self._spool is None:
            return
        for sent in list(self._waiting.values()):
            if {self._topics.results(sent.camera), self._topics.rejects(sent.camera)} & set(topics):
                sent.reason_code = NOT_AUTHORIZED
                self._set_aside(self._spool, sent)

    def _wait_until_at_most(self, waiting: int, until: float = float("inf")) -> None:
        while len(self._waiting) > waiting and time.monotonic() < until:
            self._check_progress()
            self._changed.wait(0.05)

    def _check_progress(self) -> None:
        if self.stop.is_set():
            raise Stopped
        if self._patience.has_ended():
            if self._spool:
                raise NoAnswers(f"no answer for {self._timeout:g} s (--timeout)")
            self._waiting.clear()  # missing: their `answer` stays None

    def _keep(self, spool: Spool, sent: Sent, image: bytes, paced: bool) -> None:
        said = False
        while True:
            try:
                spool.put(sent.frame_id, sent.camera, sent.source, sent.captured_at, image)
                return
            except LargerThanSpool:
                raise
            except SpoolFull as full:
                if self._drop_oldest and self._give_up_oldest(spool):
                    continue
                if paced or not self._waiting:
                    raise
                if not said:
                    log.warning("%s: taking no frames until there is room", full)
                    said = True
            with self._changed:
                self._check_progress()
                self._changed.wait(0.05)

    def _give_up_oldest(self, spool: Spool) -> bool:
        oldest = spool.drop_oldest()
        if oldest is None:
            return False
        with self._changed:
            sent = self._waiting.get(oldest.frame_id)
        if sent is not None:
            sent.dropped = True
            self._done(sent)
        return True

    def _publish(self, sent: Sent, image: bytes) -> None:
        sent.tries += 1
        publication = Publication(
            self._topics.frames(sent.camera),
            image,
            user_properties=[(FRAME_ID_PROPERTY, sent.frame_id)],
            stamps=sent.times,
            on_puback=lambda code: self._accepted(sent, code),
        )
        self.connection.publish(publication)

    # --- the network thread -----------------------------------------------------------------------------

    def _connected(self, session_present: bool) -> None:
        if not self._feeder:
            return
        if not self.connection.reconnects:
            # Answers of the last run may be waiting in the session; without it, there are none.
            # Half of the time-out is left for answers to what goes out again.
            after = min(self._resend_after, self._timeout / 2) if session_present else 0.0
            for sent in self.restored:
                self._feeder.add_later(sent, after)
        elif not session_present:
            log.warning("the broker has lost its state: what is unanswered is sent again")
            with self._changed:
                out = [s for s in self._waiting.values() if self._feeder.is_out(s) and s.reason_code == 0]
            for sent in out:
                self._feeder.add_later(sent, NOBODY_THERE)

    def _accepted(self, sent: Sent, reason_code: int) -> None:
        sent.reason_code = reason_code
        self._patience.heard()
        if reason_code == NO_SUBSCRIBERS and self._await_answers:
            log.warning("no worker reads %s yet", self._topics.frames(sent.camera))
        if not (self._spool and self._feeder and sent.frame_id in self._waiting):
            if not self._await_answers or sent.refused:
                self._done(sent)
            return
        sent.refusals += sent.refused and reason_code not in PASSING
        if sent.refused and is_final(reason_code, sent.refusals):
            self._set_aside(self._spool, sent)
        elif sent.refused or reason_code == NO_SUBSCRIBERS:
            self._feeder.add_later(sent, NOBODY_THERE, NOBODY_THERE_AT_MOST)
        else:
            self._feeder.add_later(sent, self._resend_after)

    def _set_aside(self, spool: Spool, sent: Sent) -> None:
        assert sent.reason_code is not None
        spool.set_aside(sent.frame_id, sent.reason_code)
        self._done(sent)

    def _receive(self, delivery: Delivery) -> None:
        self._patience.heard()
        self.connection.ack(delivery)
        message = Result if delivery.topic.startswith(self._topics.results("")) else Rejection
        # Others answer other publishers' frames on the same topics, and write there what they like.
        with contextlib.suppress(DecodeError):
            answer = message.decode(delivery.payload)
            sent = self._waiting.get(answer.frame_id)
            if sent is not None:
                if self._spool:
                    self._spool.remove(sent.frame_id)
                sent.answer = answer
                self._done(sent)

    def _done(self, sent: Sent) -> None:
        sent.milliseconds = (time.perf_counter() - sent.sent) * 1000
        with self._changed:
            if self._waiting.pop(sent.frame_id, None) is None:
                return
            if self._feeder:
                self._feeder.done(sent)
            self._patience.renew()
            self._changed.notify_all()
        self._on_answer(sent)
