"""A plain MQTT client that sends frames and counts answers; they come in the frames' order.

python -m bench.drivers.paho PORT
"""

from __future__ import annotations

import collections
import socket
import sys
import threading
from typing import Any, Deque

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.drive import Load, Order, Outcome, serve


class Client:
    """One connection for all orders."""

    def __init__(self, port: int) -> None:
        self._sent: Deque[int] = collections.deque()
        self._load: Load
        subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)  # what bounds them is the order's window
        # Else part of a latency would be this client's: see `wire.mqtt.tcp`.
        self._client.on_socket_open = lambda client, userdata, sock: sock.setsockopt(  # type: ignore[union-attr]
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self._client.on_message = self._hear
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("results/+", qos=1)
        self._client.loop_start()
        if not subscribed.wait(10):
            raise RuntimeError("the broker does not answer")

    def run(self, order: Order) -> Outcome:
        """Send an order's frames."""
        self._load = Load(order)
        return self._load.run(self._send)

    def _send(self, number: int, jpeg: bytes) -> None:
        self._sent.append(number)
        self._client.publish("frames/camera", jpeg, qos=1)

    def _hear(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._load.done(self._sent.popleft())


if __name__ == "__main__":
    serve(Client(int(sys.argv[1])).run)
