"""The files that a spool is made of: whole or not there, and locked by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Dict, Optional

from wire import private
from wire.errors import SettingsError


@dataclass(frozen=True)
class Kept:
    """A frame on disk, without its image."""

    frame_id: str
    camera: str
    source: str
    captured_at: str
    file: Path
    #: Bytes on disk.
    size: int


def read_header(file: Path) -> Kept:
    """What a frame's file says of it.

    Raises:
        SettingsError: it is no frame of a spool's.
        OSError: it is gone, or cannot be read.
    """
    try:
        with file.open("rb") as opened:
            header: Dict[str, str] = json.loads(opened.readline())
        return Kept(**header, file=file, size=file.stat().st_size)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{file}: this is no frame of the spool's ({error}); remove it") from None


def write(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole and for good, or not at all."""
    aside = file.with_suffix(".tmp")
    with private.open_file(aside, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    aside.replace(file)
    sync(file.parent)


def sync(folder: Path) -> None:
    """Have the disk hold which files a folder has."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock(folder: Path) -> Optional[IO[str]]:
    """Take a folder, made if need be, until the lock is closed; None if another process has it."""
    private.make_folder(folder)
    held = private.open_file(folder / "lock", "a", encoding="ascii")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held
