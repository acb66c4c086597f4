"""Publications until their PUBACKs.

put ──> queue ── as the broker's window has room ──> in flight ── PUBACK ──> on_puback
                            ^── first of all ── unconfirmed <──┘ connection lost: sent again, by the same id
"""

from __future__ import annotations

import collections
import logging
import struct
from typing import Any, Deque, Dict, Optional

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MQTTException, Properties  # type: ignore[attr-defined]
from paho.mqtt.reasoncodes import ReasonCode

from wire.mqtt.handlers import in_handler
from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import PACKET_TOO_LARGE
from wire.mqtt.publish_properties import LARGEST_PACKET
from wire.mqtt.traits import Traits
from wire.mqtt.writer import enqueue

log = logging.getLogger(__name__)

#: MQTT's default where a CONNACK names no Receive Maximum [MQTT 5, 3.2.2.3.3].
DEFAULT_RECEIVE_MAXIMUM = 65535
#: Publications in flight, at most: a few of the 65,535 packet ids are left to subscribe by.
MOST_IN_FLIGHT = 65_000

#: Bytes of a payload that are rather copied than queued by themselves.
_COPIED = 1 << 13
#: What paho raises over damaged properties.
_PAHO_ERRORS = (struct.error, IndexError, KeyError, ValueError, MQTTException)


class PublishQueue:
    """What one client publishes. All calls come from the network thread.

    Attributes:
        maximum_packet_size: bytes that the broker takes.
        traits: what else it has shown of itself.
    """

    def __init__(self, client: mqtt.Client, *, by_paho: bool) -> None:
        """Publish through a client.

        Args:
            client: paho's.
            by_paho: whether paho makes the packets, holds what is in flight and sends it again. Otherwise all
                this is done here, and paho is given the packets.
        """
        self.maximum_packet_size = LARGEST_PACKET
        self.traits = Traits()
        self._client = client
        self._by_paho = by_paho
        self._window = MOST_IN_FLIGHT
        self._queue: Deque[Publication] = collections.deque()
        self._in_flight: Dict[int, Publication] = {}
        #: What was in flight on an earlier connection and is not yet on this one, in the order of sending.
        self._unconfirmed: Dict[int, Publication] = {}
        client.max_inflight_messages_set(0)  # the queue is ours
        client.max_queued_messages_set(0)
        client.on_publish = self._handle_puback

    def put(self, publication: Publication) -> None:
        """Queue a publication; kept across reconnects."""
        self._queue.append(publication)

    def begin(self) -> None:
        """Begin a connection, unless paho does: what was in flight is to be sent again, before all else."""
        self._unconfirmed = {**self._in_flight, **self._unconfirmed}
        self._in_flight = {}

    def uses(self, mid: int) -> bool:
        """Whether a publication has this packet id."""
        return mid in self._in_flight or mid in self._unconfirmed

    def connected(self, properties: Optional[Properties]) -> None:
        """Respect the limits that the CONNACK names."""
        self.traits = Traits.of(properties)
        receive_maximum = getattr(properties, "ReceiveMaximum", DEFAULT_RECEIVE_MAXIMUM)
        self._window = min(receive_maximum, MOST_IN_FLIGHT)
        self.maximum_packet_size = getattr(properties, "MaximumPacketSize", LARGEST_PACKET)

    def pump(self) -> None:
        """Publish what is queued, as far as the window goes; called while connected."""
        while (self._queue or self._unconfirmed) and len(self._in_flight) < self._window:
            mid = next(iter(self._unconfirmed), None)
            publication = self._queue.popleft() if mid is None else self._unconfirmed.pop(mid)
            if publication.size > self.maximum_packet_size:
                self._refuse(publication)
            elif self._by_paho:
                self._publish_by_paho(publication)
            else:
                self._publish(publication, mid)

    def receive_puback(self, packet: memoryview) -> bool:
        """Take a PUBACK [MQTT 5, 3.4]; False if it is malformed.

        One of no publication that is in flight is ignored, as paho does.

        Args:
            packet: what follows its length: the packet id, and perhaps a reason code and properties.
        """
        if len(packet) < 2:
            return False
        if len(packet) > 3:
            try:
                Properties(PacketTypes.PUBACK).unpack(bytes(packet[3:]))
            except _PAHO_ERRORS:
                return False
        publication = self._in_flight.pop(packet[0] << 8 | packet[1], None)
        if publication is not None:
            self._report(publication, packet[2] if len(packet) > 2 else 0)
        return True

    def _publish(self, publication: Publication, mid: Optional[int]) -> None:
        """Queue a packet with paho's; as two entries where the payload is worth not to be copied."""
        dup = mid is not None
        if mid is None:
            mid = self._client._mid_generate()
        self._in_flight[mid] = publication
        header = publication.header(mid, dup=dup)
        payload = publication.payload
        for piece in (header, payload) if len(payload) > _COPIED else (header + payload,):
            enqueue(self._client, header[0], piece)

    def _publish_by_paho(self, publication: Publication) -> None:
        info = self._client.publish(
            publication.topic,
            publication.payload,
            qos=1,
            retain=publication.retain,
            properties=publication.properties(),
        )
        self._in_flight[info.mid] = publication

    def _refuse(self, publication: Publication) -> None:
        # It would be sent, end the connection, and be sent again on the next, for ever.
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
        """Take what paho has read: all PUBACKs, where it writes the publications."""
        self._report(self._in_flight.pop(mid), reason.value)

    def _report(self, publication: Publication, reason_code: int) -> None:
        if publication.on_puback:
            with in_handler:
                publication.on_puback(reason_code)
