"""Reading and writing by paho alone, where it has other insides than those that are known."""

from __future__ import annotations

from typing import Union

import paho.mqtt.client as mqtt


class PahoIO:
    """Reads and writes for one client, in its network thread."""

    def __init__(self, client: mqtt.Client) -> None:
        self._client = client
        _keep_the_unsent(client)

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


def _keep_the_unsent(client: mqtt.Client) -> None:
    """Have a client keep a packet of which its WebSocket has sent a part.

    The WebSocket then says 0 bytes, and wants the same again to send the rest; but paho takes the packet for
    sent. What comes behind would be read as MQTT packets, were it the middle of a picture.
    """
    send = getattr(client, "_sock_send", None)
    if send is None:
        return  # another paho

    def send_or_wait(data: Union[bytes, bytearray]) -> int:
        sent: int = send(data)
        if not sent:
            raise BlockingIOError
        return sent

    client._sock_send = send_or_wait  # type: ignore[method-assign,assignment]
