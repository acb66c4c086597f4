"""Received messages: packets or paho's messages to ours, marked with the connection that delivered them."""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping, Optional, Union

import paho.mqtt.client as mqtt
from paho.mqtt.properties import MalformedPacket  # type: ignore[attr-defined]

from wire.mqtt.handlers import in_handler
from wire.mqtt.packets import Delivery
from wire.mqtt.publish_properties import read_properties

log = logging.getLogger(__name__)


class Deliveries:
    """What one client receives. All calls come from the network thread.

    Attributes:
        epoch: how many connections there have been: an ack only counts on the one that delivered.
    """

    def __init__(self, client: mqtt.Client, on_delivery: Callable[[Delivery], None]) -> None:
        """Hand each message that a client receives to a handler."""
        self.epoch = 0
        self._client = client
        self._on_delivery = on_delivery
        client.on_message = self._handle_message

    def receive(self, first: int, packet: memoryview) -> bool:
        """Hand on what a PUBLISH of QoS 0 or 1 holds [MQTT 5, 3.3]; False if it is malformed.

        Args:
            first: its first byte, with its flags.
            packet: what follows its length.
        """
        qos = first >> 1 & 3
        if len(packet) < 2:
            return False
        id_at = 2 + (packet[0] << 8 | packet[1])
        at = id_at + (2 if qos else 0)
        if at >= len(packet):  # one byte of properties is there at least
            return False
        mid = packet[id_at] << 8 | packet[id_at + 1] if qos else 0
        try:
            properties, at = read_properties(packet, at)
        except MalformedPacket:
            return False
        try:
            topic: Optional[str] = str(packet[2:id_at], "utf-8")
        except UnicodeDecodeError:
            topic = None
        self._deliver(topic, packet[at:], qos, first & 1 != 0, mid, properties)
        return True

    def _handle_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        """Take what paho has read: a message of QoS 2, or any where it reads alone."""
        try:
            topic: Optional[str] = message.topic
        except UnicodeDecodeError:
            topic = None
        properties = vars(message.properties) if message.properties else {}
        self._deliver(topic, message.payload, message.qos, message.retain, message.mid, properties)

    def _deliver(
        self,
        topic: Optional[str],
        payload: Union[bytes, bytearray, memoryview],
        qos: int,
        retain: bool,
        mid: int,
        properties: Mapping[str, Any],
    ) -> None:
        if topic is None:
            log.warning("ignored a message whose topic is not UTF-8")
            if qos:
                self._client.ack(mid, qos)
            return
        unread = properties.get("unread", 0)
        if unread:
            log.warning("%s: %d bytes of properties are more than are read: taken without any", topic, unread)
        delivery = Delivery(
            topic=topic,
            payload=bytes(payload),
            qos=qos,
            retain=retain,
            mid=mid,
            epoch=self.epoch,
            user_properties=dict(properties.get("UserProperty", ())),
            response_topic=properties.get("ResponseTopic"),
            correlation_data=properties.get("CorrelationData"),
        )
        with in_handler:
            self._on_delivery(delivery)
