"""The files that a spool is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Dict, Optional

from wire.errors import SettingsError
from wire.files import lock
from wire.private import make_folder

#: Beside the frames: held while a publisher uses them.
LOCK = "lock"


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


def lock_spool(folder: Path) -> Optional[IO[str]]:
    """Lock a publisher's folder, made if need be, until it is closed; None if another process has it."""
    make_folder(folder)
    return lock(folder / LOCK)


def read_header(file: Path) -> Kept:
    """Read what a frame's file says of it.

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
