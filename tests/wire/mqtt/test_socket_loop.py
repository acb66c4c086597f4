"""The loop of one connection: when it looks at the keepalive."""

from __future__ import annotations

import select
import socket
from types import SimpleNamespace
from typing import List

import pytest

from tests.wire.mqtt.ends import End
from wire.mqtt import socket_loop
from wire.mqtt.network_thread import NetworkThread
from wire.mqtt.socket_loop import MISC_SECONDS, run_socket
from wire.mqtt.tcp import TcpSocket


def test_the_keepalive_is_looked_at_in_time_however_messages_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a short --keepalive the broker else hears of this member too late, and drops it."""
    now = 0.0
    looks: List[float] = []

    class Scripted(NetworkThread):
        """Something comes shortly before the next look is due; the clock stands still otherwise."""

        def wait(self, files: select.poll, seconds: float) -> int:
            nonlocal now
            now += min(seconds, 0.95 * MISC_SECONDS)
            return 0

    def look() -> None:
        looks.append(now)

    monkeypatch.setattr(socket_loop, "time", SimpleNamespace(monotonic=lambda: now))
    listener, sock = socket.create_server(("127.0.0.1", 0)), socket.socket()
    with listener, sock:
        sock.connect(listener.getsockname())
        end = End(sock, own=True)
        monkeypatch.setattr(end.client, "loop_misc", look)
        with TcpSocket(end.client) as tcp:
            thread = Scripted(
                lambda: run_socket(end.client, tcp, thread, end.io, lambda: len(looks) < 10),
                lambda error: None,
            )
            thread.start()
            assert thread.ended.wait(60)
        assert thread.failure is None
    assert max(b - a for a, b in zip(looks, looks[1:])) <= MISC_SECONDS
