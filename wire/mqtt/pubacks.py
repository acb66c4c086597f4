"""What a broker answers to a publication: the reason codes of a PUBACK [MQTT 5, 3.4.2.1]."""

from __future__ import annotations

from typing import Union

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

NO_SUBSCRIBERS = 0x10
#: Codes from here on are refusals.
REFUSED = 0x80
NOT_AUTHORIZED = 0x87
TOPIC_NAME_INVALID = 0x90
PACKET_IDENTIFIER_IN_USE = 0x91
PACKET_TOO_LARGE = 0x95
QUOTA_EXCEEDED = 0x97
PAYLOAD_FORMAT_INVALID = 0x99
#: Refusals that may pass by themselves; a SUBACK has them as well.
PASSING = {QUOTA_EXCEEDED, PACKET_IDENTIFIER_IN_USE}

_paho_unpack = ReasonCode.unpack


def _unpack(self: ReasonCode, buffer: Union[bytes, bytearray]) -> int:
    """Accept any code in a PUBACK.

    Mosquitto's message_size_limit answers with 0x95, which MQTT has for other packets only. paho finds such a
    PUBACK malformed and drops the connection, or dies: it would send the frame again, and so on for ever.
    """
    if self.packetType != PacketTypes.PUBACK:
        return _paho_unpack(self, buffer)
    self.value = buffer[0]
    return 1


# For every client in this process: paho has no other place for it.
ReasonCode.unpack = _unpack  # type: ignore[method-assign]
