"""Messages: a publication, to be sent, and a delivery, as it was received."""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

from paho.mqtt.properties import Properties

from wire.mqtt.publish_properties import PublishProperties, pack, pack_unstamped, variable_byte_integer

#: The first byte of a PUBLISH of QoS 1, and what its flags add [MQTT 5, 3.3.1].
_PUBLISH, _DUP, _RETAIN = 0x32, 0x08, 0x01
_UINT16 = struct.Struct("!H")
#: Room for the topic's length, packet id and properties that travel beside topic and payload.
PACKET_OVERHEAD = 1024
_NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


class Publication(NamedTuple):
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

    def header(self, mid: int, *, dup: bool) -> bytes:
        """All of the packet that comes before the payload [MQTT 5, 3.3], with stamps made now.

        Args:
            mid: the packet id.
            dup: whether it was sent before.

        Raises:
            ValueError: it cannot be published.
        """
        if "+" in self.topic or "#" in self.topic:
            raise ValueError(f"{self.topic}: a message cannot be published on a topic with wildcards")
        unstamped = pack_unstamped(
            self.user_properties, self.correlation_data, self.response_topic, self.expiry
        )
        topic, properties = self.topic.encode(), pack(unstamped, self.stamps)
        length = len(topic) + 4 + len(properties) + len(self.payload)
        first = _PUBLISH | (_DUP if dup else 0) | (_RETAIN if self.retain else 0)
        return b"".join(
            (
                *(bytes((first,)), variable_byte_integer(length), _UINT16.pack(len(topic)), topic),
                *(_UINT16.pack(mid), properties),
            )
        )


class Delivery(NamedTuple):
    """A received message. `epoch` counts connections: an ack only counts on the one that delivered it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    epoch: int
    user_properties: Mapping[str, str] = _NO_PROPERTIES
    response_topic: Optional[str] = None
    correlation_data: Optional[bytes] = None
