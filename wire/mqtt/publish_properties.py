"""The properties of a PUBLISH, read and written by code of our own, in time linear in their length.

paho's code copies the rest of the packet, payload and all, several times for each property, looks every name
up in a list, and makes the tables for that again for each message: half of what it takes to receive a frame,
and too much for a worker where a message has thousands of properties. It also finds characters malformed that
brokers pass on, and drops the connection over them: the broker would deliver such a message again and again,
to one worker after the other.

Only properties that nanofleet uses are kept, and properties of more than MOST bytes are not read at all: a
packet has room for three million user properties, and each would take 25 times its bytes in memory.

And paho refuses a CONNACK that names a larger Maximum Packet Size than a packet can have, as one of a broker
without a limit may.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import (  # type: ignore[attr-defined]
    MalformedPacket,
    Properties,
)

from wire.messages import (
    CAPTURED_AT_PROPERTY,
    CONFIDENCE_PROPERTY,
    FRAME_ID_PROPERTY,
    LABEL_PROPERTY,
    SENT_AT_PROPERTY,
)

#: Bytes that a packet may have behind its first five [MQTT 5, 2.1.4]: more than these are no limit.
LARGEST_PACKET = 268_435_455
#: The user properties that are kept: no other is used.
KEPT = (FRAME_ID_PROPERTY, CAPTURED_AT_PROPERTY, SENT_AT_PROPERTY, LABEL_PROPERTY, CONFIDENCE_PROPERTY)
#: Bytes of all properties of a message, at most: of more, none is read.
MOST = 1 << 18
#: Bytes of a value that are kept; and of a Response Topic and of correlation data, at most: with longer ones
#: there is no reply.
MOST_OF_VALUE, MOST_OF_TOPIC, MOST_OF_CORRELATION = 1024, 2048, 1024

# Identifiers in a packet [MQTT 5, 2.2.2.2 and 3.3.2.3].
_EXPIRY, _CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION_DATA, _USER_PROPERTY = 2, 3, 8, 9, 38
_SUBSCRIPTION_IDENTIFIER = 11
#: Payload Format Indicator, Message Expiry Interval, Topic Alias: bytes of each.
_NUMBERS = {1: 1, _EXPIRY: 4, 35: 2}
_LENGTH, _SECONDS, _PAIR = struct.Struct("!H"), struct.Struct("!I"), struct.Struct("!BH")
_KEPT = {name.encode(): name for name in KEPT}
#: By how many bits each byte of a variable byte integer is shifted: there are four at most.
_SHIFTS = (0, 7, 14, 21)

_paho_unpack, _paho_set = Properties.unpack, Properties.__setattr__
_tables = vars(Properties(PacketTypes.PUBLISH))


class PublishProperties(Properties):
    """The properties of a PUBLISH to be sent; paho calls nothing but `pack`."""

    def __init__(
        self,
        user_properties: Sequence[Tuple[str, str]] = (),
        correlation_data: Optional[bytes] = None,
        response_topic: Optional[str] = None,
        stamps: Optional[Callable[[], Sequence[Tuple[str, str]]]] = None,
        expiry: Optional[int] = None,
    ) -> None:
        """Pack what stays the same each time the packet is sent.

        Args:
            user_properties: names and values.
            correlation_data: at most 65,535 bytes.
            response_topic: a topic.
            stamps: makes further user properties each time the packet is sent.
            expiry: seconds for which the broker keeps the message.

        Raises:
            struct.error: a text or the data is longer than 65,535 bytes.
        """
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        unstamped = pack_unstamped(user_properties, correlation_data, response_topic, expiry)
        vars(self).update(unstamped=unstamped, stamps=stamps)

    def pack(self) -> bytes:
        """The properties as they stand in the packet, their length first."""
        return pack(vars(self)["unstamped"], vars(self)["stamps"])


def pack_unstamped(
    user_properties: Sequence[Tuple[str, str]],
    correlation_data: Optional[bytes],
    response_topic: Optional[str],
    expiry: Optional[int],
) -> bytes:
    """What stays the same each time a packet is sent; see PublishProperties."""
    packed = b""
    if expiry is not None:
        packed += bytes([_EXPIRY]) + _SECONDS.pack(expiry)
    if response_topic is not None:
        packed += bytes([_RESPONSE_TOPIC]) + _with_length(response_topic.encode())
    if correlation_data is not None:
        packed += bytes([_CORRELATION_DATA]) + _with_length(correlation_data)
    return packed + _pairs(user_properties)


def pack(unstamped: bytes, stamps: Optional[Callable[[], Sequence[Tuple[str, str]]]]) -> bytes:
    """The properties as they stand in a packet, their length first, with stamps made now."""
    packed = unstamped + _pairs(stamps()) if stamps else unstamped
    return variable_byte_integer(len(packed)) + packed


def variable_byte_integer(value: int) -> bytes:
    """Seven bits a byte, the lowest first [MQTT 5, 1.5.5]."""
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _pairs(user_properties: Sequence[Tuple[str, str]]) -> bytes:
    pieces: List[bytes] = []
    for name, value in user_properties:
        key, data = name.encode(), value.encode()
        pieces += (_PAIR.pack(_USER_PROPERTY, len(key)), key, _LENGTH.pack(len(data)), data)
    return b"".join(pieces)


def _with_length(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _init(self: Properties, packetType: int) -> None:
    """Share the tables, which are never written to."""
    vars(self).update(_tables, packetType=packetType)


def _set(self: Properties, name: str, value: Any) -> None:
    """Leave out what a CONNACK need not have said."""
    if name == "Maximum Packet Size" and value > LARGEST_PACKET:  # with blanks only where it is read
        return
    _paho_set(self, name, value)  # type: ignore[no-untyped-call]


def _unpack(self: Properties, buffer: bytes) -> Tuple[Properties, int]:
    """Read properties from where they begin in a packet; returns them, and how many bytes they take.

    Raises:
        MalformedPacket: they end in the middle of one, or there is one that no PUBLISH has.
    """
    if self.packetType != PacketTypes.PUBLISH:
        result: Tuple[Properties, int] = _paho_unpack(self, buffer)  # type: ignore[no-untyped-call]
        return result
    found, end = read_properties(buffer, 0)
    vars(self).update(found)
    return self, end


def read_properties(packet: Union[bytes, bytearray, memoryview], at: int) -> Tuple[Dict[str, Any], int]:
    """Read a PUBLISH's properties; returns them by paho's names, and where they end in the packet.

    Of too many, "unread" is all there is: how many bytes they take.

    Raises:
        MalformedPacket: they end in the middle of one, or there is one that no PUBLISH has.
    """
    try:
        length, start = _number(packet, at)
        end = start + length
        if end > len(packet):
            raise MalformedPacket("PUBLISH that ends within its properties")
        if length > MOST:
            return {"unread": length}, end
        return (_read(bytes(packet[start:end]), length) if length else {}), end
    except (struct.error, IndexError) as error:
        raise MalformedPacket(f"PUBLISH with damaged properties: {error}") from None


def _read(region: bytes, length: int) -> Dict[str, Any]:
    """The properties that a Delivery has, by paho's names. Texts are not checked."""
    pairs: List[Tuple[str, str]] = []
    found: Dict[str, Any] = {}
    at = 0
    while at < length:
        identifier = region[at]
        at += 1
        if identifier == _USER_PROPERTY:
            middle = at + 2 + (region[at] << 8 | region[at + 1])
            name, at = region[at + 2 : middle], middle + 2 + (region[middle] << 8 | region[middle + 1])
            value = region[middle + 2 : at]
            if name in _KEPT:
                pairs.append((_KEPT[name], value[:MOST_OF_VALUE].decode("utf-8", "replace")))
        elif identifier == _RESPONSE_TOPIC:
            text, at = _data(region, at)
            found["ResponseTopic"] = text.decode("utf-8", "replace")
        elif identifier == _CORRELATION_DATA:
            found["CorrelationData"], at = _data(region, at)
        elif identifier == _CONTENT_TYPE:
            _, at = _data(region, at)
        elif identifier == _SUBSCRIPTION_IDENTIFIER:
            _, at = _number(region, at)
        elif identifier in _NUMBERS:
            at += _NUMBERS[identifier]
        else:
            raise MalformedPacket(f"PUBLISH with a property of identifier {identifier}")
    if at != len(region):
        raise MalformedPacket("PUBLISH whose properties are longer than they say")
    if pairs:
        found["UserProperty"] = pairs
    topic, correlation = found.get("ResponseTopic", ""), found.get("CorrelationData", b"")
    if len(topic) > MOST_OF_TOPIC or len(correlation) > MOST_OF_CORRELATION:
        found.pop("ResponseTopic", None)
        found.pop("CorrelationData", None)
    return found


def _number(packet: Union[bytes, bytearray, memoryview], at: int) -> Tuple[int, int]:
    """A variable byte integer, and where it ends."""
    value = 0
    for shift in _SHIFTS:
        byte = packet[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedPacket("PUBLISH with a number of more than four bytes")


def _data(region: bytes, at: int) -> Tuple[bytes, int]:
    """The bytes behind a length, and where they end."""
    end = at + 2 + _LENGTH.unpack_from(region, at)[0]
    return region[at + 2 : end], end


# For every client in this process: paho has no other place for it.
Properties.__init__, Properties.unpack = _init, _unpack  # type: ignore[method-assign]
Properties.__setattr__ = _set  # type: ignore[method-assign]
