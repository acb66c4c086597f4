"""Ports that are free."""

from __future__ import annotations

import contextlib
import random
import socket

#: Linux gives outgoing connections ports from 32768 on (ip_local_port_range), and each worker makes several.
_FIRST, _LAST = 20_000, 32_000


def free_port(host: str = "127.0.0.1", *, count: int = 1) -> int:
    """The first of some ports in a row that are free, and that no outgoing connection is given meanwhile.

    Args:
        host: an IPv4 or IPv6 address of this machine.
        count: how many ports in a row.

    Raises:
        OSError: nothing can listen on this address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
    while True:
        port = random.randint(_FIRST, _LAST - count)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for each in range(port, port + count):
                probes.enter_context(socket.socket(family)).bind((host, each))
            return port
