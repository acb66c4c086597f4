"""What a broker refuses in its CONNACK, and what to do about it [MQTT 5, 3.2]."""

from __future__ import annotations

from typing import Optional

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire.broker import Broker
from wire.errors import ConnectionRefused, SettingsError

#: Refusals that another try does not change [MQTT 5, 3.2.2.2].
_FINAL = {0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x9D}
#: Answers a will of a higher QoS than the broker has; without a will its Maximum QoS says so.
_QOS_NOT_SUPPORTED = 0x9B
_ADVICE = {
    0x84: "it does not speak MQTT 5, which nanofleet needs (Mosquitto 1.6 and later do)",
    0x86: "wrong user name or password: check the user in --broker and the --password-file",
    0x87: "not authorised: wrong or missing user name or password (the user is named in --broker), "
    "or its ACL does not let this member in",
}


def check_connack(
    broker: Broker, reason: ReasonCode, properties: Optional[Properties], *, first: bool
) -> None:
    """Check that a connection can be used.

    Args:
        broker: whose it is.
        reason: the CONNACK's.
        properties: the CONNACK's.
        first: whether there was none before: a refusal later may be a passing state of the broker's.

    Raises:
        ConnectionRefused: the first was refused for good.
        SettingsError: the broker promises less than nanofleet does.
        OSError: another try may find things changed.
    """
    if reason.value == _QOS_NOT_SUPPORTED or getattr(properties, "MaximumQoS", 2) == 0:
        raise SettingsError(
            f"{broker} takes QoS 0 alone, at which any frame and any answer may be lost: let it take QoS 1 "
            "(Mosquitto: max_qos 1 or 2, or no such line)"
        )
    if reason.is_failure:
        advice = _ADVICE.get(reason.value, str(reason))
        if first and reason.value in _FINAL:
            raise ConnectionRefused(f"{broker} refused the connection: {advice}")
        raise OSError(f"refused: {advice}")
