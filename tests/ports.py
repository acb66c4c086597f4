"""Free ports for the tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from typing import Iterator

#: Below those that `fleet.ports` draws from, and those that Linux gives outgoing connections.
_FIRST, _EACH, _PROCESSES = 10_000, 1_250, 8


def _mine() -> Iterator[int]:
    """The ports of this process, in turn; from any of them on, because other tests may run beside."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[len("gw") :]) % _PROCESSES
    first = _FIRST + number * _EACH
    start = random.randrange(_EACH)
    return itertools.cycle(first + (start + each) % _EACH for each in range(_EACH))


_ports = _mine()


def free_port(*, count: int = 1) -> int:
    """The first of some ports in a row that are free.

    Who is to listen there does so a second later. A port that is drawn by lot, as by `fleet.ports`, would now
    and then be drawn again meanwhile: these come in turn, and each process of the tests has its own.
    """
    while True:
        ports = list(itertools.islice(_ports, count))
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for port in range(ports[0], ports[0] + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            if ports[-1] == ports[0] + count - 1:
                return ports[0]
