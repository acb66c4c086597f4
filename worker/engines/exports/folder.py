"""The folder of an export: beside the weights, or a temporary one where others may write there."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from wire.private import writers

log = logging.getLogger(__name__)


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


def writable(path: Path, pinned: bool) -> Path:
    """The path at which an export can be made: that one, or one in a temporary folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        return temporary_folder(error) / path.name
    return out_of_reach(path) if pinned else path  # it may just have been made


def temporary_folder(reason: OSError) -> Path:
    """A folder of this process's own, because another cannot be written to."""
    log.warning("%s: %s: the export is made again at each start", reason.filename, reason.strerror)
    return _made_temporary_folder()


@lru_cache(maxsize=None)
def _made_temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nanofleet-exports-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
