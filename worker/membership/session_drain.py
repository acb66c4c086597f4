"""Emptying a session: nothing new, and then all that the broker still holds for it.

unsubscribe ── UNSUBACK ──> marker, published to a topic that the session reads ──> the marker comes back:
                            the broker has queued it behind the last frame          the session is empty
"""

from __future__ import annotations

import time
from typing import Callable, List, Optional, Sequence

from wire.mqtt.connection import Connection
from wire.mqtt.packets import Publication
from worker.delivery.unacked import Unacked

#: A broker that keeps no order between subscriptions (rumqttd) counts as empty after so many seconds without
#: a frame.
QUIET_SECONDS = 0.5
#: Seconds after which the marker is sent again: it may be lost with a broker that loses its state.
MARK_AGAIN_SECONDS = 5.0
#: Frames that still come so many seconds after the marker, from brokers that do keep the order, come by
#: another subscription than those that were left: a stolen worker's session may have any.
LATE_SECONDS = 5.0


class Drain:
    """Empties one session, once."""

    def __init__(
        self,
        connection: Connection,
        unacked: Unacked,
        subscriptions: Sequence[str],
        marker: Callable[[], Publication],
    ) -> None:
        """Begin by leaving the subscriptions.

        Args:
            connection: holds the session, which must stay subscribed to the marker's topic at QoS 1.
            unacked: its frames in hand.
            subscriptions: where the session's frames come from.
            marker: makes a message, each time with another payload.
        """
        self._connection = connection
        self._unacked = unacked
        self._marker = marker
        self._sent: List[bytes] = []
        self._sent_at = 0.0
        self._echoed_at: Optional[float] = None
        self._last_frame = time.monotonic()
        connection.unsubscribe(subscriptions)

    def receive_frame(self) -> None:
        """Note that the session has delivered a frame."""
        self._last_frame = time.monotonic()

    def receive_marker(self, payload: bytes) -> None:
        """Note that the session has delivered a message on the marker's topic, one of this drain's or not."""
        if self._echoed_at is None and payload in self._sent:
            self._echoed_at = time.monotonic()

    @property
    def late(self) -> bool:
        """Whether a frame that comes now is not one that the session held."""
        if self._echoed_at is None or not self._connection.traits.keeps_order:
            return False
        return time.monotonic() - self._echoed_at > LATE_SECONDS

    def finished(self) -> bool:
        """Whether nothing is left, neither with the broker nor in hand. To be called again and again."""
        if not self._connection.unsubscribed.is_set():
            return False
        now = time.monotonic()
        if self._echoed_at is None and now - self._sent_at > MARK_AGAIN_SECONDS:
            publication = self._marker()
            self._sent.append(publication.payload)
            self._sent_at = now
            self._connection.publish(publication)
        if self._echoed_at is None or len(self._unacked):
            return False
        return self.late or now - self._last_frame > QUIET_SECONDS
