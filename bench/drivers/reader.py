"""Sends frames to somebody who only reads them, and prints a line for each.

python -m bench.drivers.reader PORT COMMAND…
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import IO

from bench.drive import WINDOW, Load, Order, Outcome, serve
from bench.processes import die_with_parent
from publisher.publisher import Publisher
from wire.broker import BrokerSettings
from wire.mqtt.pubacks import NO_SUBSCRIBERS

#: Seconds in which a reader must have subscribed.
SUBSCRIBE_TIMEOUT = 30.0


class Reader:
    """The reader, and nanofleet's publisher in front of it."""

    def __init__(self, publisher: Publisher, lines: IO[str]) -> None:
        self._publisher = publisher
        self._lines = lines

    def wait_subscribed(self) -> None:
        """Send frames until one is read.

        Raises:
            RuntimeError: none is.
        """
        deadline = time.monotonic() + SUBSCRIBE_TIMEOUT
        while time.monotonic() < deadline:
            sent = self._publisher.send("camera", b"x", "")
            self._publisher.wait()
            if sent.reason_code != NO_SUBSCRIBERS:
                self._lines.readline()
                return
            time.sleep(0.05)
        raise RuntimeError("the reader does not subscribe")

    def run(self, order: Order) -> Outcome:
        """Send an order's frames, as many ahead of the reader as any driver sends."""
        load = Load(order)

        def count() -> None:
            for number in range(order.frames):
                if not self._lines.readline():
                    return  # the reader has ended; the load misses its answers
                load.done(number)

        counting = threading.Thread(target=count, daemon=True)
        counting.start()
        outcome = load.run(self._send)
        counting.join()
        return outcome

    def _send(self, number: int, jpeg: bytes) -> None:
        self._publisher.send("camera", jpeg, "")


def main(port: str, *command: str) -> None:
    """Serve one order after the other."""
    settings = BrokerSettings(broker=f"mqtt://127.0.0.1:{port}", root="bench")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent) as process:
        assert process.stdout
        with Publisher(
            settings.open_broker(),
            settings.topics,
            ["camera"],
            window=WINDOW,
            timeout=60,
            await_answers=False,
        ) as publisher:
            publisher.connection.wait_connected(threading.Event())
            reader = Reader(publisher, process.stdout)
            reader.wait_subscribed()
            serve(reader.run)
        process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
