"""The folder of an export: beside the weights, or a temporary one where others may write there."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Callable, Tuple, TypeVar

from wire.private import writers
from worker.engines.leftovers import temporary_folder

log = logging.getLogger(__name__)
T = TypeVar("T")


def out_of_reach(path: Path) -> Path:
    """The path of an export that no other user can have made: nothing but itself says what it is of."""
    path = path.parent.resolve() / path.name  # a link that leads there may lead elsewhere soon
    existing = [each for each in (path.parent, path, path.with_suffix(".json")) if os.access(each, os.F_OK)]
    reason = next(filter(None, map(writers, existing)), "")
    if not reason:
        return path
    log.warning(
        "%s: under --sha256 no export is taken from there, and it is made again at each start", reason
    )
    return _made_temporary_folder() / path.name


def made_at(path: Path, pinned: bool, make: Callable[[Path], T]) -> Tuple[Path, T]:
    """Make something at a path, or in a temporary folder where that cannot be.

    Returns:
        Where it was made, and what `make` returned.
    """
    path = _writable(path, pinned)
    try:
        return path, make(path)
    except PermissionError as error:  # another user's lock, or half of what was to be made
        path = _temporary_folder(error) / path.name
        return path, make(path)


def _writable(path: Path, pinned: bool) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        return _temporary_folder(error) / path.name
    return out_of_reach(path) if pinned else path  # it may just have been made


def _temporary_folder(reason: OSError) -> Path:
    """A folder of this process's own, because another cannot be written to."""
    log.warning("%s: %s: the export is made again at each start", reason.filename, reason.strerror)
    return _made_temporary_folder()


@lru_cache(maxsize=None)
def _made_temporary_folder() -> Path:
    kept = contextlib.ExitStack()
    folder = kept.enter_context(temporary_folder())
    atexit.register(kept.close)
    return folder
