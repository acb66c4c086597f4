"""A fleet's files: written only if that changes something."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from wire.files import PUBLIC, SECRET, write_whole


def put(file: Path, content: Union[str, bytes], mode: int = PUBLIC) -> bool:
    """Write a file, unless it is as it should be; returns whether it was written. A secret is hidden again.

    Raises:
        OSError: for example, the disk is full. The file is then as it was.
    """
    wanted = content.encode() if isinstance(content, str) else content
    if file.exists() and file.read_bytes() == wanted:
        if mode == SECRET:
            hide(file)
        return False
    write_whole(file, wanted, mode)
    return True


def hide(file: Path) -> None:
    """Make a file readable by its owner alone."""
    if file.stat().st_mode & 0o077:
        file.chmod(SECRET)
