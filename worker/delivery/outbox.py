"""Answers on their way out. A frame may be acked once the broker has taken its answer, and not before."""

from __future__ import annotations

import functools
import logging
import time
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from wire.errors import ConnectionRefused
from wire.messages import Reason
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import PACKET_TOO_LARGE
from wire.topics import Topics, answers_client_id
from worker.delivery.frame import Frame

log = logging.getLogger(__name__)

#: Success; and success without a subscriber.
PUBLISHED = {0x00, 0x10}
#: Reason codes that every other try would get as well.
FINAL = {
    0x87: "its ACL does not let this worker write there",
    PACKET_TOO_LARGE: "the answer is larger than the packets it takes; lower --top-k",
}


class Answer(NamedTuple):
    """An answer as it is published."""

    payload: bytes
    #: Why the frame was rejected; None for a Result.
    reason: Optional[Reason] = None


class Outbox:
    """Publishes answers until the broker takes them. All calls come from the connection's network thread.

    Where a broker sends no PUBACKs to a client that has much to ack (see `wire.mqtt.traits`), the answers go
    out over a connection of their own.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Topics,
        worker_id: str,
        *,
        on_published: Callable[[Frame, Answer, float], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Publish over the worker's own connection, until `connected` finds that it cannot.

        Args:
            connection: this worker's own, over which the answers go out on most brokers; the frames of an
                adoption come over that adoption's.
            topics: the fleet's.
            worker_id: whose answers they are.
            on_published: called with an answer that is with the broker, and the seconds that this took.
            on_failure: called with what ended the other connection, in its network thread.
        """
        self._connection = connection
        self._publishing = connection
        self._topics = topics
        self._worker_id = worker_id
        self._on_published = on_published
        self._on_failure = on_failure
        self._refused: List[Tuple[Frame, Answer]] = []

    def connected(self) -> None:
        """Open a connection for answers alone if the worker's own leads to a broker that needs it."""
        if self._publishing is self._connection and not self._connection.traits.sends_pubacks_while_behind:
            log.info(
                "%s names no Receive Maximum: answers go over a second connection", self._connection.broker
            )
            self._publishing = Connection(
                self._connection.broker,
                answers_client_id(self._worker_id),
                on_delivery=lambda delivery: None,
                on_failure=self._on_failure,
            )
            self._publishing.__enter__()

    def close(self) -> None:
        """Give up the other connection, if there is one; called when nothing is to be published any more."""
        if self._publishing is not self._connection:
            self._publishing.close()

    def put(self, frame: Frame, answer: Answer) -> None:
        """Publish an answer."""
        of = self._topics.results if answer.reason is None else self._topics.rejects
        topic = of(frame.camera)
        handle = self._handle_puback if self._publishing is self._connection else self._post_puback
        on_puback = functools.partial(handle, frame, answer, topic, time.perf_counter())
        reply_to = frame.delivery.response_topic
        if reply_to is not None and self._topics.is_reply(reply_to, frame.camera):
            # Before the other: when that one's PUBACK settles the frame, this one is out as well.
            correlation = frame.delivery.correlation_data
            self._publishing.publish(Publication(reply_to, answer.payload, correlation_data=correlation))
        self._publishing.publish(Publication(topic, answer.payload, on_puback=on_puback))

    def _handle_puback(
        self, frame: Frame, answer: Answer, topic: str, began: float, reason_code: int
    ) -> None:
        if reason_code in FINAL:
            raise ConnectionRefused(
                f"{self._connection.broker} refuses {topic}: {FINAL[reason_code]}; "
                "without its answer the frame cannot be acked, and stays with the broker"
            )
        if reason_code in PUBLISHED:
            self._on_published(frame, answer, time.perf_counter() - began)
        else:
            log.error("%s: the broker refused an answer (0x%02x), trying again", topic, reason_code)
            self._refused.append((frame, answer))

    def _post_puback(self, *published: Any) -> None:
        """Handle a PUBACK that came in the other connection's thread."""
        self._connection.call(functools.partial(self._handle_puback, *published))

    def retry(self) -> None:
        """Publish again what was refused, by a broker whose quota was used up, say."""
        refused, self._refused = self._refused, []
        for frame, answer in refused:
            self.put(frame, answer)
