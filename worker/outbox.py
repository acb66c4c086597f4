"""Answers on their way out. A frame may be acked once the broker has taken its answer, and not before."""

from __future__ import annotations

import logging
import time
from typing import Callable, List, Tuple, Union

from wire.connection import PACKET_TOO_LARGE, Connection, Publication
from wire.errors import ConnectionRefused
from wire.messages import Rejection, Result
from wire.topics import Topics
from worker.frame import Frame

log = logging.getLogger(__name__)

#: Success; and success without a subscriber: nobody listens just now.
PUBLISHED = {0x00, 0x10}
#: What the broker will say on every other try, too.
FINAL = {
    0x87: "its ACL does not let this worker write there",
    PACKET_TOO_LARGE: "the answer is larger than the packets it takes; lower --top-k",
}

Answer = Union[Result, Rejection]


class Outbox:
    """Publishes answers until the broker takes them. All calls come from the network thread."""

    def __init__(
        self, connection: Connection, topics: Topics, on_published: Callable[[Frame, Answer, float], None]
    ) -> None:
        """Args:
        connection: where to.
        topics: the fleet's.
        on_published: hears which answer is with the broker, and how many seconds that took.
        """
        self._connection = connection
        self._topics = topics
        self._on_published = on_published
        self._refused: List[Tuple[Frame, Answer]] = []

    def put(self, frame: Frame, answer: Answer) -> None:
        """Publish an answer."""
        began = time.perf_counter()
        of = self._topics.results if isinstance(answer, Result) else self._topics.rejects
        topic = of(frame.camera)

        def hear(reason_code: int) -> None:
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

        payload = answer.encode()
        reply_to = frame.delivery.response_topic
        if reply_to is not None and self._topics.is_reply(reply_to):
            # Before the other: when that one's PUBACK settles the frame, this one is out as well.
            correlation = frame.delivery.correlation_data
            self._connection.publish(Publication(reply_to, payload, correlation_data=correlation))
        self._connection.publish(Publication(topic, payload, on_puback=hear))

    def retry(self) -> None:
        """Publish again what was refused, by a broker whose quota was used up, say."""
        refused, self._refused = self._refused, []
        for frame, answer in refused:
            self.put(frame, answer)
