"""Whether the embedded broker still accepts connections: it can stop doing so while those it has go on.

Two CONNECTs with a client id that rumqttd 0.20 refuses, such as `/`, are enough: at the second one it panics
while it holds a lock, and from then on every new connection to that port panics at the lock. Each of its two
ports has a lock of its own. So does the death of the last member of a shared subscription that had frames in
hand: the router panics ("group must exists"), and after it each connection.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
import uuid
from typing import Optional

from wire.broker import Broker
from wire.errors import NanofleetError
from wire.mqtt.connection import Connection
from wire.mqtt.reach import NotReached

log = logging.getLogger(__name__)

#: Seconds between two tries to connect, seconds that each may take, and tries in a row that have to fail.
INTERVAL_SECONDS, TRY_SECONDS, TRIES = 10.0, 10.0, 3
#: Seconds between two looks at whether the probe shall end.
_STEP_SECONDS = 0.1
#: In MQTT 3.1.1, which our own connections do not speak: CONNECT without a client id, and CONNACK (success).
_CONNECT, _CONNACK = b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\x20\2\0\0"


class Probe:
    """Connects to both ports now and then, as a new client would. A context manager.

    If the broker accepts no connection any more, this process gets a SIGTERM, as from a supervisor: it
    answers the frames in hand, and the end of the block raises.
    """

    def __init__(self, broker: Broker) -> None:
        """Prepare; entering starts it.

        Args:
            broker: its port for MQTT 5; the next one is for MQTT 3.1.1.
        """
        self._broker = broker
        self._ended = threading.Event()
        self._fault: Optional[NanofleetError] = None
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._fault is not None:
            raise NanofleetError(
                f"--broker embedded: it lets nobody in any more ({self._fault}); start again"
            ) from None

    def _run(self) -> None:
        failed = 0
        while not self._ended.wait(INTERVAL_SECONDS):
            fault = self._try()
            failed = failed + 1 if fault else 0
            if failed == TRIES and not self._ended.is_set():
                log.error("the embedded broker lets nobody in any more: leaving")
                self._fault = fault
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _try(self) -> Optional[NanofleetError]:
        return self._connect() or self._connect_311()

    def _connect(self) -> Optional[NanofleetError]:
        connection = Connection(
            self._broker, f"nanofleet-probe-{uuid.uuid4().hex[:12]}", on_delivery=lambda delivery: None
        )
        with connection:
            try:
                if connection.wait_connected(self._ended, TRY_SECONDS) or self._ended.is_set():
                    return None
            except NanofleetError as fault:
                return fault
            return NotReached(connection, TRY_SECONDS)

    def _connect_311(self) -> Optional[NanofleetError]:
        port = self._broker.port + 1
        name = f"MQTT 3.1.1, port {port}"
        try:
            with socket.create_connection((self._broker.host, port), TRY_SECONDS) as stream:
                stream.sendall(_CONNECT)
                reply = self._read(stream, len(_CONNACK))
        except OSError as error:
            return NanofleetError(f"{name}: {error}")
        if reply == _CONNACK or self._ended.is_set():
            return None
        return NanofleetError(f"{name}: " + (f"refused, with {reply.hex(' ')}" if reply else "no CONNACK"))

    def _read(self, stream: socket.socket, count: int) -> bytes:
        """So many bytes; fewer if the connection, the time or the probe ends before."""
        read, deadline = b"", time.monotonic() + TRY_SECONDS
        stream.settimeout(_STEP_SECONDS)
        while len(read) < count and time.monotonic() < deadline and not self._ended.is_set():
            with contextlib.suppress(socket.timeout):
                part = stream.recv(count - len(read))
                if not part:
                    break
                read += part
        return read
