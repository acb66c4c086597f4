"""Packet ids, which PUBLISH, SUBSCRIBE and UNSUBSCRIBE share: none has two at once [MQTT 5, 2.2.1]."""

from __future__ import annotations

from typing import Callable

import paho.mqtt.client as mqtt


def skip_used_ids(client: mqtt.Client, is_used: Callable[[int], bool]) -> None:
    """Have a client give out only ids that are free; paho counts on, and begins again after 65,535.

    Args:
        client: paho's.
        is_used: whether an id is in use; never all of them are.
    """
    generate = client._mid_generate

    def generate_free() -> int:
        mid = generate()
        while is_used(mid):
            mid = generate()
        return mid

    client._mid_generate = generate_free  # type: ignore[method-assign]
