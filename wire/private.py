"""Privacy from other users: this process's memory, and the files that it keeps."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import sys
from pathlib import Path
from typing import IO, Any

_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Keep this process's memory out of core dumps, and from other processes of the same user.

    A child process does not inherit this.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(ImportError):  # a Python without ctypes
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(0) for _ in range(4)))


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone, whatever the umask, and those above it; what exists stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    for above in reversed(folder.parents):
        if not above.exists():
            above.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def open_file(file: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file to write it, for this user alone, whatever the umask and whoever could read it before.

    Raises:
        OSError: it cannot be opened.
    """
    return open(file, mode, opener=_open_privately, **options)


def _open_privately(path: str, flags: int) -> int:
    fd = os.open(path, flags, 0o600)
    state = os.fstat(fd)
    if state.st_uid == os.geteuid() and state.st_mode & 0o077:
        os.fchmod(fd, 0o600)
    return fd


def writers(path: Path) -> str:
    """Other users who may write a file or folder, or replace it, in a few words; empty if there are none.

    Raises:
        OSError: there is none.
    """
    path = path.resolve()
    for each in (path, *path.parents):
        state = each.stat()
        if state.st_uid not in (0, os.geteuid()):
            return f"{each} is another user's"
        # In a folder such as /tmp users cannot remove what belongs to others.
        is_sticky = each != path and state.st_mode & stat.S_ISVTX
        if state.st_mode & stat.S_IWOTH and not is_sticky:
            return f"every user of this machine may write {each} (chmod o-w)"
        if state.st_mode & stat.S_IWGRP and not is_sticky:
            return f"its group may write {each} (chmod g-w)"
    return ""


def readers(file: Path) -> str:
    """Other users who may read a file, in a few words; empty if there are none.

    Its group counts only where this user could change that: root gives a file to a service by its group, and
    systemd a credential.

    Raises:
        OSError: there is no such file.
    """
    state = file.stat()
    if state.st_mode & stat.S_IROTH:
        return "every user of this machine"
    return "its group" if state.st_mode & stat.S_IRGRP and state.st_uid == os.geteuid() else ""
