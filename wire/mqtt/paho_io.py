"""Reading and writing by paho alone, where it has other insides than those that are known."""

from __future__ import annotations

import paho.mqtt.client as mqtt


class PahoIO:
    """Reads and writes for one client, in its network thread."""

    def __init__(self, client: mqtt.Client) -> None:
        self._client = client

    @property
    def pending(self) -> bool:
        """Whether there may be something to read that no selector can see."""
        return False

    def begin(self) -> None:
        """Begin a connection."""

    def ack(self, mid: int, qos: int) -> None:
        """Queue the ack of a message."""
        self._client.ack(mid, qos)

    def read(self) -> None:
        """Read what has come, or a part of it, and handle it."""
        self._client.loop_read()

    def write(self) -> None:
        """Write what is queued, as far as the socket takes it."""
        self._client.loop_write()
