"""The TCP socket below a connection: what its kernel is asked for."""

from __future__ import annotations

import contextlib
import os
import socket
import time

import paho.mqtt.client as mqtt

#: Time in which the other side must have read what was sent and closed the connection.
LINGER_SECONDS = 2.0


class TcpSocket:
    """The TCP socket below whatever paho has wrapped it in, for small messages that must not wait.

    Nagle's algorithm holds a small packet back until the one before is acked, and the other side's kernel
    acks up to 40 ms late. This side does neither; Mosquitto does the first, unless its configuration says
    `set_tcp_nodelay true`.
    """

    def __init__(self, client: mqtt.Client) -> None:
        """Find the socket of a client that has just connected."""
        wrapped = client.socket()
        assert wrapped is not None
        self._socket = socket.socket(fileno=os.dup(wrapped.fileno()))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> TcpSocket:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def ack_at_once(self) -> None:
        """Have the kernel ack what comes next at once; it forgets that after a while (see tcp(7))."""
        if hasattr(socket, "TCP_QUICKACK"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def await_close(self) -> None:
        """Send no more, and wait until the other side has read what was sent, and closes.

        paho closes the socket behind its DISCONNECT at once. A kernel resets a connection that is closed with
        bytes unread, or that receives more, and a broker that meets the reset reads nothing more: it would
        miss the DISCONNECT and what was published just before it, publish the will, and keep the session.
        """
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(65536):
                    return
