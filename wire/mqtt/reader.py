"""Cuts packets out of what a socket receives in one large read: some for us, all others for paho.

socket ── recv_into ──> buffer ──> PUBLISH of QoS 0 or 1 ──> Deliveries
                          ├──────> PUBACK ─────────────────> PublishQueue
                          └──────> any other; what is malformed; the end ──> paho, as if from the socket

paho itself asks the kernel five times for a packet, and copies the payload as often. Here a payload is copied
once, and what is rare or wrong stays paho's: a packet that Deliveries or PublishQueue do not take is handed
over whole, so that it ends as it would through paho alone.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from typing import Callable, Optional, Tuple

import paho.mqtt.client as mqtt

from wire.mqtt.deliveries import Deliveries
from wire.mqtt.insides import fits, received_attribute
from wire.mqtt.packet_ids import skip_used_ids
from wire.mqtt.packets import Delivery
from wire.mqtt.paho_io import PahoIO
from wire.mqtt.publish_queue import PublishQueue
from wire.mqtt.subscriptions import Subscriptions
from wire.mqtt.writer import enqueue, write

#: Bytes of the buffer: a frame of a camera, and what comes with it.
BUFFER = 1 << 18
#: Bytes that a larger packet has it grow to, and that are kept; beyond, it shrinks after the packet.
KEPT_BUFFER = 1 << 20
#: The most packets in one turn, between which paho pings and what was posted runs.
MOST_AT_ONCE = 64
#: Room for the next packet's beginning: while there is less, what is left moves to the buffer's front.
_LEAST_ROOM = 1 << 12
_PUBLISH, _PUBACK, _KIND = 0x30, 0x40, 0xF0
#: A PUBACK without a reason code, which means success [MQTT 5, 3.4.2.1].
_PUBACK_PACKET = struct.Struct("!BBH")
#: Set in the first byte of a PUBLISH of QoS 2, and of none: 3 [MQTT 5, 3.3.1.2].
_QOS_ABOVE_1 = 0x04
#: A packet's first byte, and at most four of its length [MQTT 5, 1.5.5].
_MOST_OF_HEADER = 5


def make_io(
    client: mqtt.Client, subscriptions: Subscriptions, on_delivery: Callable[[Delivery], None]
) -> Tuple[Deliveries, PublishQueue, PahoIO]:
    """What a client receives and publishes, and what reads and writes for it; before it is connected.

    Args:
        client: paho's.
        subscriptions: its own, with which its publications share packet ids.
        on_delivery: receives each message.
    """
    own = fits(client)
    deliveries, queue = Deliveries(client, on_delivery), PublishQueue(client, by_paho=not own)
    if own:
        skip_used_ids(client, lambda mid: queue.uses(mid) or subscriptions.uses(mid))
    return deliveries, queue, Reader(client, deliveries, queue) if own else PahoIO(client)


class Reader(PahoIO):
    """Reads for one client beside paho, in its network thread, and writes by `writer`."""

    def __init__(self, client: mqtt.Client, deliveries: Deliveries, queue: PublishQueue) -> None:
        """Read in paho's place, and give paho what is not for `deliveries` or `queue`."""
        super().__init__(client)
        self._deliveries = deliveries
        self._queue = queue
        self._received_attribute = received_attribute(client)
        self._resize(BUFFER)
        self.begin()
        client._sock_recv = self._recv  # type: ignore[method-assign]

    def begin(self) -> None:
        """Begin a connection: what was received of an earlier one is forgotten."""
        #: Where the next packet begins in the buffer, where what was received ends, and what paho may read.
        self._at = self._end = self._handed = 0
        #: Bytes of the packet that is not whole yet, as far as its length is known.
        self._needed = 0
        #: How receiving has ended, if it has; no error where the broker has closed the connection.
        self._over: Optional[Tuple[Optional[OSError]]] = None
        self._may_be_whole = False
        self._queue.begin()

    @property
    def pending(self) -> bool:
        """Whether there may be a packet that no selector can see."""
        return self._may_be_whole or self._over is not None

    def ack(self, mid: int, qos: int) -> None:
        """Queue the ack of a message."""
        if qos == 1:
            enqueue(self._client, _PUBACK, _PUBACK_PACKET.pack(_PUBACK, 2, mid))
        else:
            super().ack(mid, qos)

    def read(self) -> None:
        """Receive once what has come, and handle its packets, unless there are very many."""
        self._read()

    def write(self) -> None:
        """Write what is queued; or where that cannot be sent, read first what the broker has said last."""
        try:
            write(self._client)
        except OSError:
            while self._read():
                pass
            self._client.loop_write()  # which meets the error, unless reading has met the end

    def _read(self) -> bool:
        """Do as `read` says; False if nothing has come, or the socket is gone."""
        sock = self._client.socket()
        if sock is None or not (self._may_be_whole or self._fill(sock)):
            return False
        for _ in range(MOST_AT_ONCE):
            if not self._next():
                self._may_be_whole = False
                break
            if self._client.socket() is None:
                return False
        else:
            self._may_be_whole = True
        if self._over and not self._may_be_whole:
            self._client.loop_read()
        return True

    def _fill(self, sock: mqtt.SocketLike) -> bool:
        """Receive into the room behind what is there; over TLS, one record after the other.

        Returns:
            Whether there was anything, or the end.
        """
        self._make_room()
        before = self._end
        while self._end < len(self._buffer) and not self._over:
            try:
                count = self._receive(sock)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self._over = (error,)
                break
            if not count:
                self._over = (None,)
                break
            self._end += count
            setattr(self._client, self._received_attribute, time.monotonic())
            if not isinstance(sock, ssl.SSLSocket):
                break
        return self._over is not None or self._end > before

    def _receive(self, sock: mqtt.SocketLike) -> int:
        room = self._view[self._end :]
        if isinstance(sock, socket.socket):
            return sock.recv_into(room)
        data = sock.recv(len(room))  # paho's WebSocket
        room[: len(data)] = data
        return len(data)

    def _make_room(self) -> None:
        """Have room for the whole packet that has begun, or, as it comes, for more of a very large one.

        The buffer at most doubles: the length that a packet names costs nothing until its bytes come.
        """
        size, left = len(self._buffer), self._end - self._at
        wanted = max(self._needed, left + _LEAST_ROOM)
        rest = self._view[self._at : self._end]
        if size > KEPT_BUFFER and wanted <= BUFFER:
            self._resize(BUFFER)
        elif left == size:
            self._resize(2 * size)
        elif not self._at or (left and self._at + wanted <= size):
            return
        self._view[:left] = rest  # memoryviews may overlap
        self._at, self._end = 0, left

    def _resize(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)

    def _next(self) -> bool:
        """Handle the next packet; False if it is not whole yet."""
        buffer, at, have = self._buffer, self._at, self._end - self._at
        length, header = 0, 1
        while True:
            if header >= have:
                self._needed = 0
                return False
            byte = buffer[at + header]
            length |= (byte & 0x7F) << 7 * (header - 1)
            header += 1
            if byte < 0x80:
                break
            if header == _MOST_OF_HEADER and have > header:
                self._hand_over(at + header + 1)  # a fifth byte of length, which ends the connection
                return True
        start, end = at + header, at + header + length
        if end > self._end:
            self._needed = end - at
            return False
        first = buffer[at]
        kind = first & _KIND
        self._at, self._needed = end, 0  # before a handler raises
        if kind == _PUBLISH and not first & _QOS_ABOVE_1:
            if self._deliveries.receive(first, self._view[start:end]):
                return True
        elif kind == _PUBACK and self._queue.receive_puback(self._view[start:end]):
            return True
        self._at = at
        self._hand_over(end)
        return True

    def _hand_over(self, end: int) -> None:
        """Have paho read and handle what ends here."""
        self._handed = end
        self._client.loop_read()
        self._at, self._handed = end, 0

    def _recv(self, bufsize: int) -> bytes:
        """What paho gets instead of the socket's recv."""
        if self._at < self._handed:
            at, self._at = self._at, min(self._at + bufsize, self._handed)
            return bytes(self._view[at : self._at])
        if self._over is None or self._handed:  # what comes behind a packet is not paho's yet
            raise BlockingIOError
        (error,) = self._over
        if error is not None:
            raise error
        return b""
