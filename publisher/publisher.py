"""A publisher: sends frames, and matches the answers to them by frame id.

send ── waits for room in the window ──> publish ── PUBACK ──> acknowledged ── answer ──> done
  └──> disk, with a spool ──────────────────^                       │
                                            └──── no answer: again ─┘ (publisher/spooling)
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from typing import Callable, Collection, Iterable, Optional

from publisher.sent import Sent, clock_since_boot
from publisher.spool import Spool
from publisher.spooling import Spooling
from publisher.timeouts import Timeouts
from publisher.unanswered import Unanswered
from wire.broker import Broker
from wire.errors import DecodeError
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import FRAME_ID_PROPERTY, Rejection, Result
from wire.mqtt.connection import Connection
from wire.mqtt.packets import PACKET_OVERHEAD, Delivery, Publication
from wire.mqtt.pubacks import NO_SUBSCRIBERS, NOT_AUTHORIZED
from wire.topics import Topics

log = logging.getLogger(__name__)


#: Seconds for which the broker keeps answers for a publisher that lost its connection.
SESSION_EXPIRY_SECONDS = 300
#: The same for one with a spool, whose next run wants them.
SPOOL_SESSION_EXPIRY_SECONDS = 86_400


class Publisher:
    """Frames out, answers in; a context manager around one connection. Thread-safe.

    At most `window` frames are ahead of their answers where `await_answers` is set: a broker whose queue is
    full drops frames and says success. A frame in a spool is done when it is answered, dropped, unreadable or
    refused for good; a PUBACK that takes it is not enough.

    Attributes:
        connection: to the broker.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        cameras: Iterable[str],
        *,
        window: int,
        timeout: float,
        broker_timeout: float = float("inf"),
        await_answers: bool = True,
        spool: Optional[Spool] = None,
        resend_after: float = 15.0,
        on_done: Callable[[Sent], None] = lambda sent: None,
    ) -> None:
        """Prepare a connection.

        Args:
            broker: where to send.
            topics: those of its fleet.
            cameras: the cameras whose answers are received.
            window: frames sent ahead of their answers (or of the broker's PUBACK), at most.
            timeout: seconds without any answer after which unanswered frames are given up as missing.
            broker_timeout: seconds without a connection after which nothing more is waited for.
            await_answers: whether a frame is done with its answer, or already with its PUBACK.
            spool: keeps each frame until its answer; entered already.
            resend_after: seconds without an answer after which a frame in the spool is sent again, at first.
            on_done: receives each frame that is done, in the network thread.
        """
        self._topics = topics
        self._await_answers = await_answers
        self._on_done = on_done
        self._timeouts = Timeouts(timeout, broker_timeout)
        self.connection = self._make_connection(broker, cameras, spool)
        self._unanswered = Unanswered(window, self.connection, self._timeouts, spool)
        self._spooling = (
            Spooling(spool, self._unanswered, resend_after, self._publish, self._done) if spool else None
        )

    def _make_connection(self, broker: Broker, cameras: Iterable[str], spool: Optional[Spool]) -> Connection:
        restored = (kept.camera for kept in spool.kept.values()) if spool else ()
        awaited = {*cameras, *restored} if self._await_answers else ()
        answers = [of(camera) for camera in awaited for of in (self._topics.results, self._topics.rejects)]
        return Connection(
            broker,
            spool.client_id if spool else f"nanofleet-publisher-{uuid.uuid4().hex[:12]}",
            on_delivery=self._receive,
            on_connected=self._connected,
            on_lost=self._timeouts.connection_lost,
            subscriptions=dict.fromkeys(answers, 1),
            session_expiry=SPOOL_SESSION_EXPIRY_SECONDS if spool else SESSION_EXPIRY_SECONDS,
            largest_packet=MAX_ANSWER_PACKET,
        )

    def __enter__(self) -> Publisher:
        self.connection.__enter__()
        if self._spooling:
            self._spooling.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._spooling:
            self._spooling.__exit__(*exception)
        # Answers to what is left in the spool wait with the broker, for the next run.
        keep = self._spooling is not None and self._spooling.holds_frames
        self.connection.close(session_expiry=None if keep else 0)

    @property
    def stop(self) -> threading.Event:
        """Set it to have whoever waits raise Stopped."""
        return self._unanswered.stop

    @property
    def max_payload(self) -> int:
        """Bytes of an image that the broker takes; known once connected."""
        return self.connection.maximum_packet_size - PACKET_OVERHEAD - len(self._topics.frames("c" * 64))

    @property
    def unanswered(self) -> int:
        """Frames that are not done."""
        return len(self._unanswered.frames)

    def send(self, camera: str, image: bytes, source: str, *, live: bool = False) -> Sent:
        """Send one frame, once there is room in the window.

        Args:
            camera: whose frame it is.
            image: its bytes.
            source: the caller's own name for it.
            live: whether the next frame comes anyway, so that waiting would lose it. A spool then takes
                frames ahead of the window.

        Raises:
            SpoolFull: the spool has no room for it, and a live frame waits for none; or it is larger than the
                spool, or no frame in the spool awaits an answer that would make room.
            NoAnswers: no answer came for `timeout`, while it waited for room; frames stay in the spool.
            Stopped: `stop` was set, while it waited for room.
            NotReached: there was no connection for longer than `broker_timeout`, while it waited for room.
            NanofleetError: the connection has ended.
        """
        self.connection.check()  # also where nothing is waited for: a spool would fill, and nobody send it
        sent = Sent(uuid.uuid4().hex, camera, source, clock=clock_since_boot())
        if not (live and self._spooling):
            self._unanswered.wait_for_room()
        if self._spooling:
            self._spooling.send(sent, image, live)
        else:
            self._unanswered.add(sent)
            self._publish(sent, image)
        return sent

    def wait(self, at_most: float = float("inf")) -> None:
        """Wait until every frame is done or missing, or `at_most` seconds.

        Raises:
            NoAnswers: frames stay in the spool.
            Stopped: `stop` was set.
            NotReached: there was no connection for longer than `broker_timeout`.
            NanofleetError: the connection has ended.
        """
        self._unanswered.wait_until_at_most(0, at_most)

    def set_aside_unanswerable(self, topics: Collection[str]) -> None:
        """Set the frames aside whose answers the broker does not let this member read on these topics."""
        if not self._spooling:
            return
        for sent in list(self._unanswered.frames.values()):
            if {self._topics.results(sent.camera), self._topics.rejects(sent.camera)} & set(topics):
                self._spooling.set_aside(sent, NOT_AUTHORIZED)

    def _publish(self, sent: Sent, image: bytes) -> None:
        sent.tries += 1
        publication = Publication(
            self._topics.frames(sent.camera),
            image,
            user_properties=[(FRAME_ID_PROPERTY, sent.frame_id)],
            stamps=sent.times,
            on_puback=lambda code: self._on_puback(sent, code),
        )
        self.connection.publish(publication)

    # --- the network thread -----------------------------------------------------------------------------

    def _connected(self, session_present: bool) -> None:
        if self._spooling:
            self._spooling.connected(session_present)

    def _on_puback(self, sent: Sent, reason_code: int) -> None:
        sent.reason_code = reason_code
        self._timeouts.broker_reached()
        if reason_code == NO_SUBSCRIBERS and self._await_answers:
            log.warning("no worker reads %s yet", self._topics.frames(sent.camera))
        if self._spooling:
            if sent.frame_id in self._unanswered.frames:
                self._spooling.on_puback(sent, reason_code)
        elif not self._await_answers or sent.refused:
            self._done(sent)

    def _receive(self, delivery: Delivery) -> None:
        self._timeouts.broker_reached()
        self.connection.ack(delivery)
        message = Result if delivery.topic.startswith(self._topics.results("")) else Rejection
        # Workers answer other publishers' frames on these topics, and anyone may write there.
        with contextlib.suppress(DecodeError):
            answer = message.decode(delivery.payload)
            sent = self._unanswered.frames.get(answer.frame_id)
            if sent is not None:
                if self._spooling:
                    self._spooling.answered(sent)
                sent.answer = answer
                self._done(sent)

    def _done(self, sent: Sent) -> None:
        self._unanswered.finish(sent, self._on_done)
