"""Messages: a publication, to be sent, and a delivery, as it was received."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, Optional, Sequence, Tuple

from paho.mqtt.properties import Properties

from wire.mqtt.publish_properties import PublishProperties

#: Room for the topic's length, packet id and properties that travel beside topic and payload.
PACKET_OVERHEAD = 1024


@dataclass(frozen=True)
class Publication:
    """A message to publish at QoS 1.

    Attributes:
        stamps: makes further user properties each time the message is sent: now, and after a reconnect.
        expiry: seconds for which the broker keeps it, where it is retained too; None for ever.
        on_puback: called with the reason code, in the network thread.
    """

    topic: str
    payload: bytes
    retain: bool = False
    user_properties: Sequence[Tuple[str, str]] = ()
    correlation_data: Optional[bytes] = None
    response_topic: Optional[str] = None
    stamps: Optional[Callable[[], Sequence[Tuple[str, str]]]] = None
    expiry: Optional[int] = None
    on_puback: Optional[Callable[[int], None]] = None

    @property
    def size(self) -> int:
        """Bytes of the packet, at most."""
        return len(self.payload) + len(self.topic.encode()) + PACKET_OVERHEAD

    def properties(self) -> Optional[Properties]:
        """The PUBLISH properties, if there are any."""
        given = self.user_properties or self.stamps or self.response_topic is not None
        if given or self.correlation_data is not None or self.expiry is not None:
            return PublishProperties(
                *(self.user_properties, self.correlation_data, self.response_topic, self.stamps, self.expiry)
            )
        return None


@dataclass(frozen=True)
class Delivery:
    """A received message. `epoch` counts connections: an ack only counts on the one that delivered it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    epoch: int
    user_properties: Dict[str, str] = field(default_factory=dict)
    response_topic: Optional[str] = None
    correlation_data: Optional[bytes] = None
