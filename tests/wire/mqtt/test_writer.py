"""Our own writing: all that is queued leaves whole and in order, however little the socket takes at once."""

from __future__ import annotations

import socket
import threading
from typing import Callable, Iterator, List, Tuple

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.wire.mqtt.ends import End, queued
from tests.wire.mqtt.members import Member
from tests.wire.servers import WebSocketProxy
from wire.mqtt.packets import Publication
from wire.mqtt.publish_queue import PublishQueue
from wire.mqtt.writer import MOST_AT_ONCE


@pytest.fixture
def ends() -> Iterator[Tuple[End, socket.socket]]:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with near, far:
        yield End(near, own=True), far


def write_all(end: End, far: socket.socket) -> bytes:
    """Write until nothing is left, while the other end reads."""
    received: List[bytes] = []
    while end.client.want_write():
        end.io.write()
        received.append(far.recv(3000))
    far.setblocking(False)
    while True:
        try:
            received.append(far.recv(3000))
        except BlockingIOError:
            return b"".join(received)
        if not received[-1]:
            return b"".join(received)


def test_many_packets_and_large_ones_leave_whole_and_in_order(ends: Tuple[End, socket.socket]) -> None:
    end, far = ends
    queue = PublishQueue(end.client, by_paho=False)
    for size in (0, 1, 100_000, *range(MOST_AT_ONCE), 50_000):
        queue.put(Publication("t", b"\x5a" * size, user_properties=[("size", f"{size}")]))
        end.client.ack(size % 999 + 1, 1)
    queue.pump()
    expected = queued(end.client)
    end.client._last_msg_out = 0.0
    assert write_all(end, far) == expected
    assert end.client._last_msg_out > 0


def test_behind_a_disconnect_the_socket_is_closed(ends: Tuple[End, socket.socket]) -> None:
    end, far = ends
    end.client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Normal disconnection"))
    expected = queued(end.client)
    assert expected.endswith(b"\xe0\x01\x00")
    assert write_all(end, far) == expected
    assert end.client.socket() is None
    assert end.events == [("lost", "Normal disconnection")]


def test_a_broker_that_has_hung_up_is_a_lost_connection(ends: Tuple[End, socket.socket]) -> None:
    end, far = ends
    far.close()
    end.io.write()
    assert end.client.socket() is None
    assert end.events == [("lost", "Unspecified error")]


@pytest.mark.parametrize("own", [True, False], ids=["own", "paho"])
def test_a_websocket_that_takes_little_at_once_gets_all_of_it(
    own: bool,
    mosquitto_url: str,
    root: str,
    join: Callable[..., Member],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is skipped makes the middle of a payload the next packet: here it would be one itself."""
    evil = f"{root}/evil".encode()
    packet = b"\x30" + bytes([len(evil) + 4]) + bytes([0, len(evil)]) + evil + b"\0!"
    payloads = [packet * 8000] * 4
    reader = join(mosquitto_url, f"{root}/#")
    with WebSocketProxy(mosquitto_url) as proxy:
        if not own:
            monkeypatch.setattr("wire.mqtt.reader.fits", lambda client: False)
        member = join(proxy.url.replace("mqtt", "ws"))
        narrow(member)
        for payload in payloads:
            member.connection.publish(Publication(f"{root}/a", payload))
        member.connection.close(timeout=60)
    assert [(d.topic, d.payload == payloads[0]) for d in reader.wait_received(4)] == [(f"{root}/a", True)] * 4
    assert member.losses == 1  # its own leaving


def narrow(member: Member) -> None:
    """Have a member's socket take little at once."""
    done = threading.Event()

    def narrow_it() -> None:
        wrapper = member.connection._client.socket()
        wrapper._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[union-attr]
        done.set()

    member.connection.call(narrow_it)
    assert done.wait(60)
