"""A publisher: sends frames, and matches the answers to them by frame id.

without a spool    send ── waits for room in the window ──────────────> connection ──> PUBACK ──> answer
with a spool       send ──> disk ── the spool's thread, as the window ─> connection ──> PUBACK ──> answer
                              ^     has room                                  │ none in time
                              └───────────── again, after 1, 2, 4, … times ───┘
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple, Type, Union

from publisher.spool import LargerThanSpool, Spool, SpoolFull
from wire.broker import Broker
from wire.connection import Connection
from wire.errors import DecodeError, NanofleetError
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import CAPTURED_AT_PROPERTY, FRAME_ID_PROPERTY, Rejection, Result, utc_now
from wire.packets import PACKET_OVERHEAD, Delivery, Publication
from wire.reach import NotReached
from wire.topics import Topics

log = logging.getLogger(__name__)

#: Seconds for which the broker keeps answers for a publisher that lost its connection.
SESSION_EXPIRY = 300
#: The same for one with a spool, whose next run wants them.
SPOOL_SESSION_EXPIRY = 86_400
#: Seconds after which a frame goes out again that nobody was there to take: at first, and at most. While
#: those that are out wait, nothing else goes out: a fleet that returns must not wait long for them.
NOBODY_THERE, NOBODY_THERE_AT_MOST = 1.0, 15.0
MAX_DELAY = 600.0
NO_SUBSCRIBERS = 0x10
QUOTA_EXCEEDED = 0x97


class NoAnswers(NanofleetError):
    """Nothing was answered for as long as the publisher would wait."""


@dataclass
class Sent:
    """A frame on its way. `source` is the caller's own name for it."""

    frame_id: str
    camera: str
    source: str
    captured_at: str = field(default_factory=lambda: utc_now().isoformat())
    sent: float = field(default_factory=time.perf_counter)
    answer: Union[Result, Rejection, None] = None
    #: The broker's reason code for the frame; 0x10 says that nobody was there to take it.
    reason_code: Optional[int] = None
    milliseconds: float = 0.0
    #: How often it went out.
    tries: int = 0
    #: The spool gave it up, to make room.
    dropped: bool = False
    #: Why the spool could not read it, if so.
    unreadable: str = ""

    @property
    def refused(self) -> bool:
        """Whether the broker said no, so that no answer can come."""
        return self.reason_code is not None and self.reason_code >= 0x80


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
            on_lost=self._lost,
            subscriptions=dict.fromkeys(listen, 1),
            session_expiry=SPOOL_SESSION_EXPIRY if spool else SESSION_EXPIRY,
            largest_packet=MAX_ANSWER_PACKET,
        )
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
        self._patience = patience
        self._last_progress = time.monotonic()
        #: Since when there is no connection; None while there is one.
        self._away_since: Optional[float] = self._last_progress
        # With a spool: frames to be sent, those that are out, and when those go out again.
        self._fresh: Deque[Sent] = collections.deque()
        self._ahead: Set[str] = set()
        self._resends: List[Tuple[float, str]] = []
        self._closing = False
        self._feeder = threading.Thread(target=self._feed, name="spool", daemon=True)

    def __enter__(self) -> Publisher:
        self.connection.__enter__()
        if self._spool:
            self._feeder.start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._spool:
            self._feeder.join(timeout=5)
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
            NotReached: there was no connection for longer than `patience`, while it waited for room.
            NanofleetError: the connection has ended.
        """
        sent = Sent(uuid.uuid4().hex, camera, source)
        with self._changed:
            if not (paced and self._spool):
                self._wait_until_at_most(self._window - 1)
        if self._spool:
            self._keep(self._spool, sent, image, paced)
        with self._changed:
            if not self._waiting:
                self._last_progress = time.monotonic()
            self._waiting[sent.frame_id] = sent
            if self._spool:
                self._fresh.append(sent)
                self._changed.notify_all()
        if not self._spool:
            self._publish(sent, image)
        return sent

    def wait(self, at_most: float = float("inf")) -> None:
        """Wait until every frame is done or missing, or `at_most` seconds.

        Raises:
            NoAnswers: frames stay in the spool.
            NotReached: there was no connection for longer than `patience`.
            NanofleetError: the connection has ended.
        """
        with self._changed:
            self._wait_until_at_most(0, time.monotonic() + at_most)

    def _wait_until_at_most(self, waiting: int, until: float = float("inf")) -> None:
        while len(self._waiting) > waiting and time.monotonic() < until:
            self._check_progress()
            self._changed.wait(0.05)

    def _check_progress(self) -> None:
        self.connection.check()
        away_since = self._away_since
        if not self.connection.connected.is_set():
            self._last_progress = time.monotonic()
            if away_since is not None and time.monotonic() - away_since > self._patience:
                raise NotReached(self.connection, self._patience)
        elif time.monotonic() - self._last_progress > self._timeout:
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
            user_properties=[(FRAME_ID_PROPERTY, sent.frame_id), (CAPTURED_AT_PROPERTY, sent.captured_at)],
            on_puback=lambda code: self._accepted(sent, code),
        )
        self.connection.publish(publication)

    # --- the spool's thread -----------------------------------------------------------------------------

    def _feed(self) -> None:
        assert self._spool is not None
        while True:
            with self._changed:
                while not self._closing and (sent := self._next()) is None:
                    self._changed.wait(0.05)
                if self._closing:
                    return
                assert sent is not None
                self._ahead.add(sent.frame_id)
            kept = self._spool.kept.get(sent.frame_id)
            if kept is None:  # answered, or dropped, meanwhile
                continue
            try:
                image = self._spool.image(kept)
            except OSError as error:  # removed by somebody, or a bad disk: the others go on
                sent.unreadable = f"{kept.file}: {error.strerror or error}"
                if isinstance(error, FileNotFoundError):
                    self._spool.remove(sent.frame_id)
                self._done(sent)
                continue
            self._publish(sent, image)

    def _next(self) -> Optional[Sent]:
        """The frame to send now, if there is one."""
        if not self.connection.connected.is_set():
            return None
        while self._resends and self._resends[0][0] <= time.monotonic():
            _, frame_id = heapq.heappop(self._resends)
            sent = self._waiting.get(frame_id)
            if sent is not None and frame_id in self._ahead:
                return sent
            if sent is not None:
                self._fresh.append(sent)
        while self._fresh and len(self._ahead) < self._window:
            sent = self._fresh.popleft()
            if sent.frame_id in self._waiting:
                return sent
        return None

    def _send_later(self, sent: Sent, first: float, at_most: float = MAX_DELAY) -> None:
        doublings = min(max(0, sent.tries - 1), 30)  # beyond, it is `at_most` anyway, and no float at last
        delay = min(first * 2**doublings, at_most)
        with self._changed:
            heapq.heappush(self._resends, (time.monotonic() + delay, sent.frame_id))

    # --- the network thread -----------------------------------------------------------------------------

    def _lost(self) -> None:
        self._away_since = time.monotonic()

    def _connected(self, session_present: bool) -> None:
        self._away_since = None
        if not self._spool:
            return
        if not self.connection.reconnects:
            # Answers of the last run may be waiting in the session; without it, there are none.
            # Half of the time-out is left for answers to what goes out again.
            after = min(self._resend_after, self._timeout / 2) if session_present else 0.0
            for sent in self.restored:
                self._send_later(sent, after)
        elif not session_present:
            log.warning("the broker has lost its state: what is unanswered is sent again")
            with self._changed:
                out = [s for s in self._waiting.values() if s.frame_id in self._ahead and s.reason_code == 0]
            for sent in out:
                self._send_later(sent, NOBODY_THERE)

    def _accepted(self, sent: Sent, reason_code: int) -> None:
        sent.reason_code = reason_code
        if reason_code == NO_SUBSCRIBERS and self._await_answers:
            log.warning("no worker reads %s yet", self._topics.frames(sent.camera))
        if self._spool and sent.frame_id in self._waiting:
            if reason_code in (NO_SUBSCRIBERS, QUOTA_EXCEEDED):
                self._send_later(sent, NOBODY_THERE, NOBODY_THERE_AT_MOST)
                return
            if not sent.refused:
                self._send_later(sent, self._resend_after)
                return
        if not self._await_answers or sent.refused:
            self._done(sent)

    def _receive(self, delivery: Delivery) -> None:
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
            self._ahead.discard(sent.frame_id)
            self._last_progress = time.monotonic()
            self._changed.notify_all()
        self._on_answer(sent)
