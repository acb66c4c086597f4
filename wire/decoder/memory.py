"""Memory that a decoder process shares with its parent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import tempfile
from pathlib import Path
from typing import Iterator


@contextlib.contextmanager
def shared_memory(size: int) -> Iterator[int]:
    """A file descriptor of memory that has no name, so that nothing is left of it.

    It is sealed: a process that made it smaller would have the parent killed by SIGBUS.
    """
    if sys.platform == "linux":
        fd = os.memfd_create("nanofleet-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        fd, name = tempfile.mkstemp(prefix="nanofleet-pixels-")
        Path(name).unlink()
    try:
        os.ftruncate(fd, size)
        if sys.platform == "linux":
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)
