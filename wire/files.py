"""Files that are whole at any time, and locks: one implementation for all members that keep state."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO, Iterator, Optional

from wire import private

#: Modes of a file: for everybody to read, and for its owner alone.
PUBLIC, SECRET = 0o644, 0o600


def part_of(file: Path) -> Path:
    """Where a file is written until it is whole; always the same: a killed process leaves one at most."""
    return file.with_name(f".{file.name}.part")


def write_whole(file: Path, content: bytes, mode: int = SECRET, *, lasting: bool = True) -> None:
    """Replace a file's content at once: at any time it holds either the old or the new one.

    Args:
        file: need not exist.
        content: its bytes.
        mode: its permissions, from the first byte on.
        lasting: whether it survives a power cut from here on. That takes as long as the disk does.

    Raises:
        OSError: it could not be written, because the disk is full, say. The file is as it was.
    """
    part = part_of(file)
    try:
        # Whoever may write here may have planted one: it is neither followed nor written through.
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(str(part), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
            if lasting:
                stream.flush()
                os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    if lasting:
        sync(file.parent)


def sync(folder: Path) -> None:
    """Have the disk hold which files a folder has."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock(file: Path) -> Optional[IO[str]]:
    """Take a file, made if need be, until it is closed; None if another process has it.

    What it holds stays as it is: opening it to write would wipe what its holder has written.

    Raises:
        OSError: it cannot be opened, or its disk has no locks.
    """
    held = private.open_file(file, "a+", encoding="ascii")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    except OSError:
        held.close()
        raise
    return held


def is_locked(file: Path) -> bool:
    """Whether another process has a file."""
    try:
        with file.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process has this folder locked, and keep it locked while the block lasts."""
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
