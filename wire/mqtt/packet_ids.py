"""Packet ids, which PUBLISH, SUBSCRIBE and UNSUBSCRIBE share: none has two at once [MQTT 5, 2.2.1]."""

from __future__ import annotations

from typing import Callable

import paho.mqtt.client as mqtt


def skip_used_ids(client: mqtt.Client, *uses: Callable[[int], bool]) -> None:
    """Have a client give out only ids that are free; paho counts on, and begins again after 65,535.

    Args:
        client: paho's.
        uses: each says whether an id is in use; never all of them are.
    """
    generate = client._mid_generate

    def generate_free() -> int:
        mid = generate()
        while any(is_used(mid) for is_used in uses):
            mid = generate()
        return mid

    client._mid_generate = generate_free  # type: ignore[method-assign]
