"""What processes leave that are killed: the next start removes it.

.NAME.part           beside the weights and the exports: nobody holds the lock of NAME
nanofleet-engines-*  temporary folders: nobody holds the lock in it
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO, Iterator, Optional

from wire.files import lock
from worker.models.weights import remove_stale_parts

log = logging.getLogger(__name__)

_PREFIX = "nanofleet-engines-"
#: The file in a temporary folder that its process holds.
_LOCK = ".lock"


def remove_leftovers(weights_dir: Path) -> None:
    """Remove what killed processes have left, whatever they were making."""
    with contextlib.suppress(OSError):  # a folder that cannot be read, or no temporary one at all
        for folder in (weights_dir, weights_dir / "nanofleet"):
            remove_stale_parts(folder)
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # another process was faster
                if _is_mine(folder):
                    _remove_if_stale(folder)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the block's time, of this process alone.

    Raises:
        OSError: none can be made.
    """
    held = None
    while held is None:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        held = _hold(folder)
    with held:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: Path) -> Optional[IO[str]]:
    """The lock of a folder, if it is free; None if another process has it, or has just removed it."""
    try:
        held = lock(folder / _LOCK)
    except FileNotFoundError:
        return None
    if held is not None and not os.fstat(held.fileno()).st_nlink:
        held.close()
        return None
    return held


def _is_mine(folder: Path) -> bool:
    """Whether it is a folder of this user's: what another has planted may lead anywhere."""
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid()


def _remove_if_stale(folder: Path) -> None:
    held = _hold(folder)
    if held is not None:
        with held:
            log.info("removing %s, which a process has left that was killed", folder)
            shutil.rmtree(folder, ignore_errors=True)
