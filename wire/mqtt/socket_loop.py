"""One TCP connection from open to closed: reading and writing where a selector says that it can."""

from __future__ import annotations

import contextlib
import selectors
from typing import Callable

import paho.mqtt.client as mqtt

from wire.mqtt.network_thread import NetworkThread
from wire.mqtt.paho_io import PahoIO
from wire.mqtt.tcp import TcpSocket


def run_socket(
    client: mqtt.Client,
    tcp: TcpSocket,
    thread: NetworkThread,
    packets: PahoIO,
    send: Callable[[], bool],
) -> None:
    """Read, write and run what is posted, until the socket is gone.

    Args:
        client: paho's, which has just connected.
        tcp: the socket below it.
        thread: the thread that this runs in.
        packets: reads for the client.
        send: called at the beginning of each turn, to send all that the last one has queued, at once; False
            ends the loop.

    Raises:
        OSError: the connection is lost.
    """
    with contextlib.closing(selectors.DefaultSelector()) as selector, thread.watched():
        selector.register(thread.wake_socket, selectors.EVENT_READ)
        sock = client.socket()
        assert sock is not None
        selector.register(sock, selectors.EVENT_READ)
        watched = selectors.EVENT_READ
        while client.socket() is not None and send() and client.socket() is not None:
            # What the socket did not take waits for room in it.
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
            if wanted != watched:
                selector.modify(sock, wanted)
                watched = wanted
            # TLS and WebSockets may hold bytes that the selector cannot see.
            buffered = packets.pending or getattr(sock, "pending", lambda: 0)()
            ready = thread.select(selector, 0.0 if buffered else 1.0)
            if ready.get(sock.fileno(), 0) & selectors.EVENT_READ or buffered:
                packets.read()
                tcp.ack_at_once()
            client.loop_misc()
            thread.run_calls()
