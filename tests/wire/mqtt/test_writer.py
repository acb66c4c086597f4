"""Our own writing: all that is queued leaves whole and in order, however little the socket takes at once."""

from __future__ import annotations

import socket
from typing import Iterator, List, Tuple

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.wire.mqtt.ends import End, queued
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
