"""What a front end notifies, in the way that it would notify systemd: READY=1, WATCHDOG=1, STOPPING=1."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import uuid
from typing import Set

#: What the kernel says of a sender: process, user, group.
_SENDER = struct.Struct("3i")


class Notices:
    """A socket that one front end notifies."""

    def __init__(self) -> None:
        self._name = f"nanofleet-{uuid.uuid4().hex}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Of an abstract one no file is left, but any user may send to it.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{self._name}")
        self._socket.setblocking(False)

    def be_notified(self) -> None:
        """Have this process, which is the front end, notify it."""
        os.environ["NOTIFY_SOCKET"] = f"@{self._name}"

    def read(self) -> Set[str]:
        """What has been notified since."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                state, about, *_ = self._socket.recvmsg(1024, socket.CMSG_SPACE(_SENDER.size))
                if any(_SENDER.unpack(data)[1] == os.geteuid() for *_, data in about):
                    found.add(state.decode("utf-8", "replace"))
        return found

    def close(self) -> None:
        """Take nothing more."""
        self._socket.close()
