"""One client's end of a socket, without a broker: what it makes of bytes, and what it would send."""

from __future__ import annotations

import contextlib
import select
import socket
from types import SimpleNamespace
from typing import Any, Iterator, List, Sequence, Tuple

import paho.mqtt.client as mqtt

from wire.mqtt.client import make_client
from wire.mqtt.deliveries import Deliveries
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.paho_io import PahoIO
from wire.mqtt.publish_queue import PublishQueue
from wire.mqtt.reader import Reader

#: Publications that are in flight, by the packet ids 1, 2, …
IN_FLIGHT = 3

Events = List[Tuple[object, ...]]


def bare_client(sock: socket.socket) -> mqtt.Client:
    """Paho's client, as it is made for a connection, that finds itself connected by a socket."""
    broker = SimpleNamespace(websocket=False, secure=False)
    options: Any = SimpleNamespace(client_id="test", will=None, broker=broker)
    client = make_client(options, None)  # type: ignore[arg-type]
    client._sock = sock
    return client


def queued(client: mqtt.Client) -> bytes:
    """What waits to be written."""
    return b"".join(bytes(packet["packet"]) for packet in client._out_packet)


class End:
    """A client that acks all it receives."""

    def __init__(self, near: socket.socket, *, own: bool) -> None:
        self.events: Events = []
        near.setblocking(False)
        self.client = bare_client(near)
        self.client.on_disconnect = lambda *event: self.events.append(("lost", str(event[3])))
        deliveries = Deliveries(self.client, self._take)
        queue = PublishQueue(self.client, by_paho=not own)
        self.io = Reader(self.client, deliveries, queue) if own else PahoIO(self.client)
        self.io.begin()
        for number in range(IN_FLIGHT):
            queue.put(Publication("a", b"x" * number, on_puback=self._note(number)))
        queue.pump()

    def _note(self, number: int) -> Any:
        return lambda code: self.events.append(("puback", number, code))

    def _take(self, delivery: Delivery) -> None:
        self.events.append(("delivery", delivery))
        if delivery.qos:
            self.client.ack(delivery.mid, delivery.qos)

    def read(self) -> None:
        """Read until there is nothing to read."""
        while (sock := self.client.socket()) and (self.io.pending or select.select([sock], [], [], 0)[0]):
            self.io.read()


@contextlib.contextmanager
def connected(*, own: bool) -> Iterator[Tuple[End, socket.socket]]:
    """A client that reads by its own reader, or by paho alone; and the other end."""
    near, far = socket.socketpair()
    with near, far:
        yield End(near, own=own), far


def made_of(chunks: Sequence[bytes], *, own: bool) -> Tuple[Events, bytes]:
    """What comes of some bytes, cut like this, and of the end behind them; and what would be sent."""
    with connected(own=own) as (end, far):
        # paho writes at a CONNACK: all that is queued is to be compared.
        end.client.loop_write = lambda: mqtt.MQTT_ERR_SUCCESS  # type: ignore[method-assign]
        try:
            for chunk in chunks:
                for at in range(0, len(chunk), 50_000):  # no more than a socket takes
                    far.sendall(chunk[at : at + 50_000])
                    end.read()
            far.close()
            end.read()
        except BrokenPipeError:
            pass  # the client has hung up
        except Exception as error:  # noqa: BLE001 - paho 2.1 raises over what is malformed
            end.events.append(("raised", type(error)))
        return end.events, queued(end.client)
