"""One TCP connection from open to closed: reading and writing where poll says that it can."""

from __future__ import annotations

import select
import time
from typing import Callable

import paho.mqtt.client as mqtt

from wire.mqtt.network_thread import NetworkThread
from wire.mqtt.paho_io import PahoIO
from wire.mqtt.tcp import TcpSocket

#: The most seconds until paho looks whether to ping, and whether the broker is gone. With --keepalive 2, and
#: where a look comes just too early, there is another before the broker's patience ends after 3 seconds.
MISC_SECONDS = 0.5


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
    files = select.poll()
    files.register(thread.wake_socket, select.POLLIN)
    sock = client.socket()
    assert sock is not None
    files.register(sock, select.POLLIN)
    watched, misc_due = select.POLLIN, 0.0
    with thread.watched():
        while client.socket() is not None and send() and client.socket() is not None:
            # What the socket did not take waits for room in it.
            wanted = select.POLLIN | (select.POLLOUT if client.want_write() else 0)
            if wanted != watched:
                files.modify(sock, wanted)
                watched = wanted
            # TLS and WebSockets may hold bytes that no poll can see.
            buffered = packets.pending or getattr(sock, "pending", lambda: 0)()
            events = thread.wait(files, 0.0 if buffered else max(0.0, misc_due - time.monotonic()))
            if events & ~select.POLLOUT or buffered:
                packets.read()
                tcp.ack_at_once()
            now = time.monotonic()
            if now >= misc_due:
                client.loop_misc()
                misc_due = now + MISC_SECONDS
            thread.run_calls()
