"""What is used of paho's insides, and whether this paho has it as it is known here, from 2.1 and 2.2.

reader      gives paho bytes through `_sock_recv`, and notes in `_last_bytes_received` (2.1: `_last_msg_in`)
            when some came, by which paho knows that the broker is alive
writer      takes packets from `_out_packet`, where paho puts its own by `_packet_queue` and we ours, and
            notes `_last_msg_out`, by which paho knows when to ping
paho_io     has `_sock_send` wait where a WebSocket has sent a part
packet_ids  has `_mid_generate`, of which all packet ids are, skip those in use
"""

from __future__ import annotations

from typing import Dict, Set

import paho.mqtt.client as mqtt

PINGREQ = b"\xc0\x00"
#: paho's methods, and what they must use for ours to fit in.
_USED: Dict[str, Set[str]] = {
    "loop_read": {"_packet_read"},
    "_packet_read": {"_sock_recv"},
    "_packet_write": {"_out_packet", "_sock_send", "_last_msg_out"},
    "_packet_queue": {"_out_packet"},
    "_check_keepalive": {"_last_msg_out"},
    "publish": {"_mid_generate"},
    "subscribe": {"_send_subscribe"},
    "_send_subscribe": {"_mid_generate", "_packet_queue"},
    "unsubscribe": {"_send_unsubscribe"},
    "_send_unsubscribe": {"_mid_generate", "_packet_queue"},
    "_send_command_with_mid": {"_packet_queue"},
}


def received_attribute(client: mqtt.Client) -> str:
    """The name of the attribute that says when bytes came last; empty if this paho has another."""
    used = _names(client, "_check_keepalive") & _names(client, "_packet_read")
    return next((name for name in ("_last_bytes_received", "_last_msg_in") if name in used), "")


def fits(client: mqtt.Client) -> bool:
    """Whether packets can be read and written beside this client, which is not connected yet."""
    uses = all(names <= _names(client, method) for method, names in _USED.items())
    return uses and bool(received_attribute(client)) and _queues_as_known(client)


def _names(client: mqtt.Client, method: str) -> Set[str]:
    """The attributes and globals that a method names."""
    code = getattr(getattr(client, method, None), "__code__", None)
    return set(code.co_names) if code else set()


def _queues_as_known(client: mqtt.Client) -> bool:
    """Whether a packet is queued as one entry, which is as `writer` makes and reads them."""
    try:
        client._packet_queue(PINGREQ[0], PINGREQ, 7, 1)
        (entry,) = client._out_packet
        client._out_packet.clear()
    except (AttributeError, TypeError, ValueError):
        return False
    known = {"command": PINGREQ[0], "mid": 7, "qos": 1, "packet": PINGREQ, "info": None}
    return bool(entry == {**known, "pos": 0, "to_process": len(PINGREQ)})
