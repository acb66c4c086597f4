"""One TCP connection from open to closed: paho reads and writes where a selector says that it can."""

from __future__ import annotations

import contextlib
import selectors
from typing import Callable

import paho.mqtt.client as mqtt

from wire.mqtt.network_thread import NetworkThread
from wire.mqtt.tcp import TcpSocket


def run_socket(client: mqtt.Client, tcp: TcpSocket, thread: NetworkThread, step: Callable[[], bool]) -> None:
    """Read, write and run what is posted, until the socket is gone.

    Args:
        client: paho's, which has just connected.
        tcp: the socket below it.
        thread: the thread that this runs in.
        step: called after each turn; False ends the loop.

    Raises:
        OSError: the connection is lost.
    """
    with contextlib.closing(selectors.DefaultSelector()) as selector:
        selector.register(thread.wake_socket, selectors.EVENT_READ)
        sock = client.socket()
        assert sock is not None
        selector.register(sock, selectors.EVENT_READ)
        watched = selectors.EVENT_READ
        while client.socket() is not None:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
            if wanted != watched:
                selector.modify(sock, wanted)
                watched = wanted
            # TLS and WebSockets may hold bytes that the selector cannot see.
            buffered = getattr(sock, "pending", lambda: 0)()
            at_once = buffered or thread.calls
            ready = {key.fd: events for key, events in selector.select(0 if at_once else 1.0)}
            events = ready.get(sock.fileno(), 0)
            if thread.wake_socket.fileno() in ready:
                thread.woken()
            if events & selectors.EVENT_READ or buffered:
                client.loop_read()
                tcp.ack_at_once()
            if events & selectors.EVENT_WRITE and client.socket() is not None:
                client.loop_write()
            client.loop_misc()
            thread.run_calls()
            if not step():
                return
