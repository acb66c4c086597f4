"""Received messages: from paho's to ours, marked with the connection that delivered them."""

from __future__ import annotations

import logging
from typing import Any, Callable

import paho.mqtt.client as mqtt

from wire.mqtt.handlers import in_handler
from wire.mqtt.packets import Delivery

log = logging.getLogger(__name__)


class Deliveries:
    """What one client receives. All calls come from the network thread.

    Attributes:
        epoch: how many connections there have been: an ack only counts on the one that delivered.
    """

    def __init__(self, client: mqtt.Client, on_delivery: Callable[[Delivery], None]) -> None:
        """Hand each message that a client receives to a handler."""
        self.epoch = 0
        self._on_delivery = on_delivery
        client.on_message = self._handle_message

    def _handle_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.warning("ignored a message whose topic is not UTF-8")
            if message.qos:
                client.ack(message.mid, message.qos)
            return
        properties = message.properties
        unread = getattr(properties, "unread", 0)
        if unread:
            log.warning("%s: %d bytes of properties are more than are read: taken without any", topic, unread)
        delivery = Delivery(
            topic=topic,
            payload=bytes(message.payload),
            qos=message.qos,
            retain=message.retain,
            mid=message.mid,
            epoch=self.epoch,
            user_properties=dict(getattr(properties, "UserProperty", ())),
            response_topic=getattr(properties, "ResponseTopic", None),
            correlation_data=getattr(properties, "CorrelationData", None),
        )
        with in_handler():
            self._on_delivery(delivery)
