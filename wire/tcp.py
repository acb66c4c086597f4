"""The TCP line below a connection: what its kernel is told."""

from __future__ import annotations

import os
import socket


class TcpLine:
    """The TCP line below whatever paho has wrapped it in, for small messages that must not wait.

    Nagle's algorithm holds a small packet back until the one before is acked, and the other side's kernel
    acks up to 40 ms late. This side does neither; Mosquitto does the first, unless it is told
    `set_tcp_nodelay true`.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> TcpLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def ack_at_once(self) -> None:
        """Have the kernel ack what comes next at once; it forgets that after a while (see tcp(7))."""
        if hasattr(socket, "TCP_QUICKACK"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
