"""A TCP proxy between a member and its broker, which can cut, strand, slow and filter the line.

member ── accepted ──> two threads, one each way: receive, filter, slow down, wait while cut ──> broker
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import List, Optional, Set, Tuple

from tests.ports import free_port

PUBACK = 4


class Proxy:
    """Forwards connections to a port of this machine. A context manager."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        #: Bytes a second, each way on each connection.
        self.speed: Optional[int] = None
        #: Seconds, each way.
        self.delay = 0.0
        #: MQTT packet types from the member that are swallowed, and how many were.
        self.swallow: Set[int] = set()
        self.swallowed = 0
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        #: All connections so far.
        self.lines: List[_Line] = []
        self._threads = [threading.Thread(target=self._accept_until_closed, daemon=True)]
        self._listener = socket.create_server(("127.0.0.1", self.port))

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._whole.set()
        self.speed, self.delay = None, 0.0
        self._threads[0].join()
        for line in self.lines:
            line.close()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Nothing passes, and nobody is told: what a pulled cable does. New connections fail."""
        self._whole.clear()

    def heal(self) -> None:
        """What waited passes."""
        self._whole.set()

    def hang_up(self) -> None:
        """Both ends hear that their connections are lost."""
        for line in self.lines:
            line.close()

    def strand(self) -> None:
        """The connections of this moment are dead without a word, for good: what a router that forgets does.

        New ones pass.
        """
        for line in self.lines:
            line.stranded = True

    def _accept_until_closed(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                member, _ = self._listener.accept()
                try:
                    if not self._whole.is_set():
                        raise OSError("no route to host")
                    broker = socket.create_connection(("127.0.0.1", self._target), 5)
                except OSError:
                    member.close()
                    continue
                broker.settimeout(None)
                line = _Line(member, broker)
                self.lines.append(line)
                for ends in ((member, broker), (broker, member)):
                    thread = threading.Thread(target=self._forward, args=(line, *ends), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _forward(self, line: _Line, source: socket.socket, target: socket.socket) -> None:
        packets = b""
        with contextlib.suppress(OSError):  # one of the two ends is gone
            while True:
                data = source.recv(16384)
                ended = not data
                if source is line.member and (self.swallow or packets):
                    data, packets = self._filter(packets + data)
                time.sleep(self.delay + (len(data) / self.speed if self.speed else 0))
                self._whole.wait()
                if line.stranded:
                    if ended:
                        return
                    continue
                if ended:
                    break
                target.sendall(data)
        line.close()

    def _filter(self, data: bytes) -> Tuple[bytes, bytes]:
        """Of the whole packets those that pass, and what is not yet a whole packet."""
        passed = b""
        while True:
            packet, data = _split(data)
            if packet is None:
                return passed, data
            if packet[0] >> 4 in self.swallow:
                self.swallowed += 1
            else:
                passed += packet


class _Line:
    """One connection: its two ends."""

    def __init__(self, member: socket.socket, broker: socket.socket) -> None:
        self.member = member
        self.broker = broker
        self.stranded = False

    def close(self) -> None:
        """End both; whoever reads from them wakes up."""
        for end in (self.member, self.broker):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


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
