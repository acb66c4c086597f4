"""The images to send: files, folders, globs and stdin.

In a folder, files are judged by their first bytes, whatever their names are. A file that was named, or that a
glob matches, is sent whatever it is: the worker's rejection says what is wrong with it.
"""

from __future__ import annotations

import collections
import glob
import logging
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Counter, Iterator, List, NamedTuple, Optional, Sequence

from wire.errors import SettingsError, failure_of
from wire.log_lines import NAMED_ONCE
from wire.picture import kinds

log = logging.getLogger(__name__)

#: Names that promise what can be sent. A file that breaks the promise is named.
_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".mpo", ".png", ".apng", ".webp"}
#: Pictures that cannot be sent, by their first bytes or else their names.
_OTHER_PICTURES = {
    "an HEIC": "HEIC",
    "an AVIF": "AVIF",
    "a GIF": "GIF",
    "a TIFF": "TIFF",
    "a BMP": "BMP",
    "a Photoshop file": "Photoshop",
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".avif": "AVIF",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000",
}
#: How macOS names the files in which it keeps what another file system has no room for.
_METADATA = "._"


class Unreadable(SettingsError):
    """A file is gone, or may not be read."""


class Found(NamedTuple):
    """What sources hold."""

    images: List[ImageFile]
    #: Files in folders that should be images by their names, and are none or cannot be read; each was named.
    failed: int = 0


@dataclass(frozen=True)
class ImageFile:
    """An image that can be read, again and again if need be."""

    name: str
    path: Optional[Path] = None
    #: What stdin gave; a file is read only when its turn comes.
    content: bytes = b""

    @property
    def size(self) -> int:
        """Bytes, without reading them.

        Raises:
            Unreadable: the file is gone.
        """
        if self.path is None:
            return len(self.content)
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise Unreadable(f"{self.path}: {error.strerror}") from None

    def read(self) -> bytes:
        """The image's bytes.

        Raises:
            Unreadable: the file is gone, or may not be read.
        """
        if self.path is None:
            return self.content
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise Unreadable(f"{self.path}: {error.strerror}") from None


def find_images(sources: Sequence[str]) -> Found:
    """Resolve what the command line names, in its order; folders and globs sorted.

    Raises:
        SettingsError: a source does not exist, may not be read, or holds no image.
        NanofleetError: a source cannot be read now.
    """
    found = [_resolve(source) for source in sources]
    return Found([image for each in found for image in each.images], sum(each.failed for each in found))


def _resolve(source: str) -> Found:
    if source == "-":
        return Found([_read_stdin()])
    if not source:  # a variable of a script that is not set
        raise SettingsError("SOURCE: an empty text names nothing; this folder is .")
    path = Path(source)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return _expand(source)
    except OSError as error:  # of a folder above it, for example, that may not be entered
        raise failure_of(source, error) from None
    if kind == stat.S_IFREG:
        return Found([ImageFile(source, path)])
    if kind == stat.S_IFDIR:
        return _search(path)
    raise SettingsError(f"{source}: this is no file, but stdin may be it: nanofleet publish - < {source}")


def _expand(pattern: str) -> Found:
    """The files that match a glob, sorted."""
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    files = [match for match in matches if _is_meant(match)]
    if not files:
        raise SettingsError(f"{pattern}: there is no such file, folder or match")
    return Found([ImageFile(str(match), match) for match in files])


def _is_meant(match: Path) -> bool:
    """Whether what a glob matches is a file, which may turn out not to be readable: it is named then."""
    try:
        return stat.S_ISREG(match.stat().st_mode)
    except OSError:
        return True


def _search(folder: Path) -> Found:
    """The images in a folder and below it; links to folders are not followed."""
    search = _Search()
    unreadable: List[OSError] = []
    for path in sorted(_files(folder, unreadable)):
        search.judge(path)
    for closed in unreadable:
        log.warning("%s: not looked through: %s", closed.filename, closed.strerror, extra=NAMED_ONCE)
    for kind, count in search.others.items():
        files = "file is" if count == 1 else "files are"
        log.warning("%s: %d %s %s not sent: JPEG, PNG and WebP are", folder, count, kind, files)
    if not search.images:
        raise SettingsError(f"{folder}: no JPEG, PNG or WebP file in this folder or below it")
    return Found(search.images, search.failed + len(unreadable))


class _Search:
    """What a folder holds, as far as it was looked through."""

    def __init__(self) -> None:
        self.images: List[ImageFile] = []
        #: Files that should be images by their names, and are none or cannot be read.
        self.failed = 0
        #: Pictures that cannot be sent, by their kinds.
        self.others: Counter[str] = collections.Counter()

    def judge(self, path: Path) -> None:
        """Take a file for an image, for none, or for a fault that is logged."""
        suffix = path.suffix.lower()
        promised = suffix in _SUFFIXES
        try:
            head = _head(path)
        except OSError as error:
            if promised:
                self._fail(path, error.strerror or str(error))
            return
        if head is None:
            return
        image = kinds.find(head)
        if path.name.startswith(_METADATA) and not image:
            return
        if image and (image.at == 0 or promised):
            self.images.append(ImageFile(str(path), path))
        elif promised:
            what = kinds.look(head) if head else "it is empty"
            self._fail(path, f"{what}, which is none of JPEG, PNG and WebP")
        else:
            kind = _OTHER_PICTURES.get(kinds.other(head)) or _OTHER_PICTURES.get(suffix)
            self.others.update([kind] if kind else [])

    def _fail(self, path: Path, why: str) -> None:
        self.failed += 1
        log.warning("%s: not sent: %s", path, why, extra=NAMED_ONCE)


def _files(folder: Path, unreadable: List[OSError]) -> Iterator[Path]:
    for where, _, names in os.walk(folder, onerror=unreadable.append):
        yield from (Path(where, name) for name in names)


def _head(path: Path) -> Optional[bytes]:
    """A file's first bytes; None for what is no file, such as a pipe, whose reader would wait."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with path.open("rb") as file:
        return file.read(kinds.HEAD)


def _read_stdin() -> ImageFile:
    content = sys.stdin.buffer.read()
    if not content:
        raise SettingsError("-: stdin gave no bytes")
    return ImageFile("stdin", content=content)
