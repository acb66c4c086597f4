"""Publications until their PUBACKs: queued here, then in flight, where paho holds them.

put ──> queue ── as the broker's window has room ──> in flight (sent again by paho) ── PUBACK ──> on_puback
"""

from __future__ import annotations

import collections
import logging
from typing import Any, Deque, Dict, Optional

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire.mqtt.handlers import in_handler
from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import PACKET_TOO_LARGE
from wire.mqtt.traits import Traits

log = logging.getLogger(__name__)

#: MQTT's default where a CONNACK names no Receive Maximum or Maximum Packet Size [MQTT 5, 3.2.2.3].
DEFAULT_RECEIVE_MAXIMUM = 65535
DEFAULT_MAXIMUM_PACKET_SIZE = 268_435_455


class PublishQueue:
    """What one client publishes. All calls come from the network thread.

    Attributes:
        maximum_packet_size: bytes that the broker takes.
        traits: what else it has shown of itself.
    """

    def __init__(self, client: mqtt.Client) -> None:
        self.maximum_packet_size = DEFAULT_MAXIMUM_PACKET_SIZE
        self.traits = Traits()
        self._client = client
        self._receive_maximum = DEFAULT_RECEIVE_MAXIMUM
        self._queue: Deque[Publication] = collections.deque()
        self._in_flight: Dict[int, Publication] = {}
        client.max_inflight_messages_set(0)  # the queue is ours; paho only holds what is in flight
        client.max_queued_messages_set(0)
        client.on_publish = self._handle_puback

    def put(self, publication: Publication) -> None:
        """Queue a publication; kept across reconnects."""
        self._queue.append(publication)

    def connected(self, properties: Optional[Properties]) -> None:
        """Respect the limits that the CONNACK names."""
        self.traits = Traits.of(properties)
        self._receive_maximum = getattr(properties, "ReceiveMaximum", DEFAULT_RECEIVE_MAXIMUM)
        self.maximum_packet_size = getattr(properties, "MaximumPacketSize", DEFAULT_MAXIMUM_PACKET_SIZE)

    def pump(self) -> None:
        """Publish what is queued, as far as the window goes; called while connected."""
        while self._queue and len(self._in_flight) < self._receive_maximum:
            publication = self._queue.popleft()
            if publication.size > self.maximum_packet_size:
                self._refuse(publication)
                continue
            info = self._client.publish(
                publication.topic,
                publication.payload,
                qos=1,
                retain=publication.retain,
                properties=publication.properties(),
            )
            self._in_flight[info.mid] = publication

    def _refuse(self, publication: Publication) -> None:
        # paho would send it, be disconnected, reconnect and send it again, for ever.
        log.error(
            "%s: %d bytes are more than the broker's %d",
            publication.topic,
            publication.size,
            self.maximum_packet_size,
        )
        self._report(publication, PACKET_TOO_LARGE)

    def _handle_puback(
        self,
        client: mqtt.Client,
        userdata: Any,
        mid: int,
        reason: ReasonCode,
        properties: Optional[Properties],
    ) -> None:
        self._report(self._in_flight.pop(mid), reason.value)
        self.pump()

    def _report(self, publication: Publication, reason_code: int) -> None:
        if publication.on_puback:
            with in_handler():
                publication.on_puback(reason_code)
