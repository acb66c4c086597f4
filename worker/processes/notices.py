"""What a front end notifies, in the way that it would notify systemd: READY=1, WATCHDOG=1, STOPPING=1."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from typing import Set


class Notices:
    """A socket that one front end notifies."""

    def __init__(self) -> None:
        self._name = f"nanofleet-{uuid.uuid4().hex}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self._name}")  # an abstract one, of which no file is left
        self._socket.setblocking(False)

    def be_notified(self) -> None:
        """Have this process, which is the front end, notify it."""
        os.environ["NOTIFY_SOCKET"] = f"@{self._name}"

    def read(self) -> Set[str]:
        """What has been notified since."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                found.add(self._socket.recv(1024).decode("utf-8", "replace"))
        return found

    def close(self) -> None:
        """Take nothing more."""
        self._socket.close()
