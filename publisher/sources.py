"""The images to send: files, folders, globs and stdin."""

from __future__ import annotations

import glob
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

from wire.errors import SettingsError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Image:
    """An image that can be read, again and again if need be."""

    name: str
    path: Optional[Path] = None
    #: What stdin gave; a file is read only when its turn comes.
    content: bytes = b""

    @property
    def size(self) -> int:
        """Bytes, without reading them.

        Raises:
            SettingsError: the file is gone.
        """
        if self.path is None:
            return len(self.content)
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror}") from None

    def read(self) -> bytes:
        """The image's bytes.

        Raises:
            SettingsError: the file is gone, or may not be read.
        """
        if self.path is None:
            return self.content
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror}") from None


def find_images(sources: Sequence[str]) -> List[Image]:
    """Resolve what the command line names, in its order; folders and globs sorted.

    Raises:
        SettingsError: a source does not exist, or holds no image.
    """
    return [image for source in sources for image in _resolve(source)]


def _resolve(source: str) -> List[Image]:
    if source == "-":
        return [_read_stdin()]
    path = Path(source)
    if path.is_file():
        return [Image(source, path)]
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not found:
            raise SettingsError(f"{source}: no JPEG, PNG or WebP file in this folder or below it")
        return [Image(str(p), p) for p in found]
    matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207
    files = [match for match in matches if match.is_file()]
    if not files:
        raise SettingsError(f"{source}: there is no such file, folder or match")
    return [Image(str(match), match) for match in files]


def _read_stdin() -> Image:
    content = sys.stdin.buffer.read()
    if not content:
        raise SettingsError("-: stdin gave no bytes")
    return Image("stdin", content=content)
