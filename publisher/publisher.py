"""A publisher: sends frames, and matches the answers to them by frame id."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Callable, Dict, Optional, Sequence, Type, Union

from wire.broker import Broker
from wire.connection import PACKET_OVERHEAD, Connection, Delivery, Publication
from wire.errors import DecodeError
from wire.messages import CAPTURED_AT_PROPERTY, FRAME_ID_PROPERTY, Rejection, Result, utc_now
from wire.topics import Topics

#: Seconds for which the broker keeps answers for a publisher that lost its connection.
SESSION_EXPIRY = 300


@dataclass
class Sent:
    """A frame on its way. `source` is the caller's own name for it."""

    frame_id: str
    camera: str
    source: str
    sent: float = field(default_factory=time.perf_counter)
    answer: Union[Result, Rejection, None] = None
    #: The broker's reason code for the frame; 0x10 says that nobody was there to take it.
    reason_code: Optional[int] = None
    milliseconds: float = 0.0

    @property
    def refused(self) -> bool:
        """Whether the broker said no, so that no answer can come."""
        return self.reason_code is not None and self.reason_code >= 0x80


class Publisher:
    """Frames out, answers in; a context manager around one connection.

    Thread-safe. With `await_answers`, at most `window` frames are sent ahead of their answers: a broker
    whose queue is full drops frames and says success.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        cameras: Sequence[str],
        *,
        window: int,
        timeout: float,
        await_answers: bool = True,
        on_answer: Callable[[Sent], None] = lambda sent: None,
    ) -> None:
        """Args:
        cameras: the cameras whose answers will be listened to.
        window: frames sent ahead of their answers (or of the broker's PUBACK), at most.
        timeout: seconds without any answer after which those that wait are given up as missing.
        await_answers: whether a frame is done with its answer, or already with its PUBACK.
        on_answer: hears each frame that is done, in the network thread.
        """
        listen = [of(c) for c in cameras for of in (topics.results, topics.rejects)] if await_answers else []
        self.connection = Connection(
            broker,
            f"nanofleet-publisher-{uuid.uuid4().hex[:12]}",
            on_delivery=self._receive,
            subscriptions=dict.fromkeys(listen, 1),
            session_expiry=SESSION_EXPIRY,
        )
        self._topics = topics
        self._await_answers = await_answers
        self._on_answer = on_answer
        self._window = window
        self._timeout = timeout
        self._changed = threading.Condition()
        self._waiting: Dict[str, Sent] = {}
        self._last_progress = time.monotonic()

    def __enter__(self) -> Publisher:
        self.connection.__enter__()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.connection.close(session_expiry=0)

    @property
    def max_payload(self) -> int:
        """Bytes of an image that the broker takes; known once connected."""
        return self.connection.maximum_packet_size - PACKET_OVERHEAD - len(self._topics.frames("c" * 64))

    @property
    def unanswered(self) -> int:
        """Frames that are not done."""
        return len(self._waiting)

    def send(self, camera: str, image: bytes, source: str) -> Sent:
        """Send one frame, once there is room in the window.

        Raises:
            NanofleetError: the connection has ended.
        """
        sent = Sent(uuid.uuid4().hex, camera, source)
        with self._changed:
            self._wait_until_at_most(self._window - 1)
            if not self._waiting:
                self._last_progress = time.monotonic()
            self._waiting[sent.frame_id] = sent
        publication = Publication(
            self._topics.frames(camera),
            image,
            user_properties=[
                (FRAME_ID_PROPERTY, sent.frame_id),
                (CAPTURED_AT_PROPERTY, utc_now().isoformat()),
            ],
            on_puback=lambda code: self._accepted(sent, code),
        )
        self.connection.publish(publication)
        return sent

    def wait(self, at_most: float = float("inf")) -> None:
        """Wait until every frame is done or missing, or `at_most` seconds.

        Raises:
            NanofleetError: the connection has ended.
        """
        with self._changed:
            self._wait_until_at_most(0, time.monotonic() + at_most)

    def _wait_until_at_most(self, waiting: int, until: float = float("inf")) -> None:
        while len(self._waiting) > waiting and time.monotonic() < until:
            self.connection.check()
            if not self.connection.connected.is_set():
                self._last_progress = time.monotonic()
            elif time.monotonic() - self._last_progress > self._timeout:
                self._waiting.clear()  # missing: their `answer` stays None
            self._changed.wait(0.05)

    def _accepted(self, sent: Sent, reason_code: int) -> None:
        sent.reason_code = reason_code
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
                sent.answer = answer
                self._done(sent)

    def _done(self, sent: Sent) -> None:
        sent.milliseconds = (time.perf_counter() - sent.sent) * 1000
        with self._changed:
            if self._waiting.pop(sent.frame_id, None) is None:
                return
            self._last_progress = time.monotonic()
            self._changed.notify_all()
        self._on_answer(sent)
