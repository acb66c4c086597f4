"""Files that are written whole or not at all, and only if that changes something."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Iterator, Union

PUBLIC = 0o644
SECRET = 0o600


def put(file: Path, content: Union[str, bytes], mode: int = PUBLIC) -> bool:
    """Write a file, unless it is as it should be; returns whether it was written. A secret is hidden again.

    Raises:
        OSError: the disk is full, say. The file is then as it was.
    """
    wanted = content.encode() if isinstance(content, str) else content
    if file.exists() and file.read_bytes() == wanted:
        if mode == SECRET:
            hide(file)
        return False
    draft = file.with_name(f".{file.name}.draft")  # always the same, so that a killed run leaves one at most
    draft.unlink(missing_ok=True)
    try:
        # The mode comes with the file: others can read a secret at no time.
        with os.fdopen(os.open(str(draft), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(wanted)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return True


def hide(file: Path) -> None:
    """See to it that only its owner can read a file."""
    if file.stat().st_mode & 0o077:
        file.chmod(SECRET)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process has this folder locked, and keep it locked while the block lasts."""
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
