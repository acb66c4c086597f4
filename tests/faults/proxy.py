"""A TCP proxy between a member and its broker, which can cut, freeze, slow and filter the line."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Dict, List, Optional, Tuple

from tests.harness import free_port

PUBACK = 4


class Proxy:
    """Forwards connections to a port of this machine, in a thread."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        #: No new connections, and the present ones closed.
        self.cut = False
        #: Nothing passes, and nobody is told: what a pulled cable does.
        self.frozen = False
        #: Bytes a second, each way.
        self.speed: Optional[int] = None
        #: MQTT packet types from the client that are swallowed.
        self.swallow: List[int] = []
        self._target = target
        self._ended = False
        self._pairs: Dict[socket.socket, socket.socket] = {}
        self._clients: Dict[socket.socket, bytes] = {}
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended = True
        self._thread.join()

    def _run(self) -> None:
        with self._listener, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._ended:
                if self.cut:
                    for sock in list(self._pairs):
                        self._drop(selector, sock)
                for key, _ in selector.select(0.05):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._listener:
                        self._accept(selector)
                    elif sock in self._pairs and not self.frozen:
                        self._forward(selector, sock)
                if self.frozen:
                    time.sleep(0.05)
            for sock in list(self._pairs):
                self._drop(selector, sock)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        client, _ = self._listener.accept()
        if self.cut:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            client.close()
            return
        self._clients[client] = b""
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            selector.register(one, selectors.EVENT_READ)

    def _forward(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        try:
            data = sock.recv(16384)
            if not data:
                raise OSError
            if sock in self._clients and self.swallow:
                data = self._filter(sock, data)
            self._pairs[sock].sendall(data)
        except OSError:
            self._drop(selector, sock)
            return
        if self.speed:
            time.sleep(len(data) / self.speed)

    def _filter(self, sock: socket.socket, data: bytes) -> bytes:
        """Whole packets only, and of those not the ones to be swallowed."""
        buffered, passed = self._clients[sock] + data, b""
        while True:
            packet, rest = _split(buffered)
            if packet is None:
                self._clients[sock] = buffered
                return passed
            if packet[0] >> 4 not in self.swallow:
                passed += packet
            buffered = rest

    def _drop(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        other = self._pairs.pop(sock, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for each in (sock, other):
            self._clients.pop(each, None)
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(each)
            each.close()


def _split(data: bytes) -> Tuple[Optional[bytes], bytes]:
    """The first MQTT packet of some bytes, if it is there whole, and the rest [MQTT 5, 2.1]."""
    length = 0
    for index in range(1, 5):
        if len(data) <= index:
            return None, data
        length |= (data[index] & 0x7F) << 7 * (index - 1)
        if data[index] < 0x80:
            end = index + 1 + length
            return (data[:end], data[end:]) if len(data) >= end else (None, data)
    raise ValueError("not MQTT")
