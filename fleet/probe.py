"""Whether the embedded broker still lets newcomers in: it can stop doing so while its connections go on."""

from __future__ import annotations

import logging
import os
import signal
import threading
import uuid
from typing import Optional

from wire.broker import Broker
from wire.connection import Connection
from wire.errors import NanofleetError
from wire.reach import NotReached

log = logging.getLogger(__name__)

#: Seconds between two tries to connect, seconds that each may take, and tries in a row that have to fail.
INTERVAL, PATIENCE, TRIES = 10.0, 10.0, 3


class Probe:
    """Connects now and then, as a newcomer would. A context manager.

    If nobody is let in any more, this process is told to leave, as by a supervisor: it answers what it has in
    hand, and the end of the block raises.
    """

    def __init__(self, broker: Broker) -> None:
        """Args:
        broker: whom to try.
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
        while not self._ended.wait(INTERVAL):
            fault = self._try()
            failed = failed + 1 if fault else 0
            if failed == TRIES and not self._ended.is_set():
                log.error("the embedded broker lets nobody in any more: leaving")
                self._fault = fault
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _try(self) -> Optional[NanofleetError]:
        connection = Connection(
            self._broker, f"nanofleet-probe-{uuid.uuid4().hex[:12]}", on_delivery=lambda delivery: None
        )
        with connection:
            try:
                if connection.wait_connected(self._ended, PATIENCE) or self._ended.is_set():
                    return None
            except NanofleetError as fault:
                return fault
            return NotReached(connection, PATIENCE)
