"""The properties of a PUBLISH, read and written fast.

paho's own copy the rest of the packet, payload and all, several times for each property, look every name up
in a list, and make the tables for that anew for each message: in all, half of what it takes to receive a
frame. Here are short ways for what frames and answers carry. All else goes paho's way, and what is malformed.
"""

from __future__ import annotations

import struct
from typing import List, Optional, Sequence, Tuple

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

#: Their identifiers in a packet [MQTT 5, 2.2.2.2].
_RESPONSE_TOPIC, _CORRELATION_DATA, _USER_PROPERTY = 8, 9, 38
_PAIR_OF_LENGTHS = struct.Struct("!BH")
_LENGTH = struct.Struct("!H")
#: Characters that no string may hold; UTF-8 itself leaves no room for surrogates [MQTT 5, 1.5.4].
_FORBIDDEN = ("\0", "\ufeff")

_paho_unpack = Properties.unpack
_tables = vars(Properties(PacketTypes.PUBLISH))


class PublishProperties(Properties):
    """The properties of a PUBLISH to be sent, by paho's names; it asks for nothing but `pack`."""

    def __init__(
        self,
        user_properties: Sequence[Tuple[str, str]] = (),
        correlation_data: Optional[bytes] = None,
        response_topic: Optional[str] = None,
    ) -> None:
        """Args:
        user_properties: names and values.
        correlation_data: at most 65,535 bytes.
        response_topic: a topic.

        Raises:
            struct.error: a text or the data is longer than 65,535 bytes.
        """
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        packed = bytearray()
        if response_topic is not None:
            packed += bytes([_RESPONSE_TOPIC]) + _with_length(response_topic.encode())
        if correlation_data is not None:
            packed += bytes([_CORRELATION_DATA]) + _with_length(correlation_data)
        for name, value in user_properties:
            packed += bytes([_USER_PROPERTY]) + _with_length(name.encode()) + _with_length(value.encode())
        vars(self)["packed"] = VariableByteIntegers.encode(len(packed)) + packed

    def pack(self) -> bytes:
        """As they stand in the packet, their length first."""
        packed: bytes = vars(self)["packed"]
        return packed


def _with_length(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _init(self: Properties, packet_type: int) -> None:
    """Share the tables, which nobody writes to."""
    vars(self).update(_tables, packetType=packet_type)


def _unpack(self: Properties, buffer: bytes) -> Tuple[Properties, int]:
    """Read properties from where they begin in a packet; returns them, and how many bytes they take."""
    length, size = VariableByteIntegers.decode(buffer[:5])
    end = size + length
    if not length:
        return self, end
    region = bytes(buffer[size:end])
    if self.packetType == PacketTypes.PUBLISH and len(region) == length:
        pairs = _user_properties(region)
        if pairs is not None:
            vars(self)["UserProperty"] = pairs
            return self, end
    result: Tuple[Properties, int] = _paho_unpack(self, buffer)  # type: ignore[no-untyped-call]
    return result


def _user_properties(region: bytes) -> Optional[List[Tuple[str, str]]]:
    """Names and values; None if there is anything else among them, or anything wrong."""
    pairs, at = [], 0
    try:
        while at < len(region):
            identifier, size = _PAIR_OF_LENGTHS.unpack_from(region, at)
            middle = at + 3 + size
            end = middle + 2 + _LENGTH.unpack_from(region, middle)[0]
            if identifier != _USER_PROPERTY or end > len(region):
                return None
            name, value = region[at + 3 : middle].decode(), region[middle + 2 : end].decode()
            if any(character in name or character in value for character in _FORBIDDEN):
                return None
            pairs.append((name, value))
            at = end
    except (struct.error, UnicodeDecodeError):
        return None
    return pairs


# For every client in this process: paho offers no other place to say it.
Properties.__init__, Properties.unpack = _init, _unpack  # type: ignore[method-assign]
