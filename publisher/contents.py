"""What is in the spools of one fleet, for `nanofleet spool` to list and drop."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional

from publisher.frame_files import LOCK, Kept, lock_spool, read_header
from publisher.refused import RefusedFrames
from wire.errors import failure_of
from wire.files import is_locked

log = logging.getLogger(__name__)


class InUse(Exception):
    """A frame belongs to a publisher that runs."""


class Entry(NamedTuple):
    """A frame in a spool."""

    kept: Kept
    #: The broker's reason code, if it was refused.
    reason_code: Optional[int] = None
    #: Whether its publisher runs.
    in_use: bool = False


def contents(spools: Path) -> List[Entry]:
    """All frames below a folder, oldest first; none if there is no such folder.

    Raises:
        NanofleetError: it cannot be read.
    """
    try:
        found = [*_waiting(spools), *(Entry(each.kept, each.reason_code) for each in RefusedFrames(spools))]
    except OSError as error:
        raise failure_of(f"--spool-dir {error.filename or spools}", error) from None
    return sorted(found, key=lambda entry: entry.kept.captured_at)


def drop(entry: Entry) -> bool:
    """Remove a frame; False if it is gone already.

    Raises:
        InUse: it stays, because its publisher runs.
        OSError: it stays.
    """
    if entry.reason_code is not None:
        return _remove(entry.kept.file)
    held = lock_spool(entry.kept.file.parent)
    if held is None:
        raise InUse
    with held:
        return _remove(entry.kept.file)


def _remove(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def _waiting(spools: Path) -> Iterator[Entry]:
    """The frames that are to be sent."""
    for folder in sorted(spools.iterdir()) if spools.exists() else ():
        if not folder.name.isdigit():
            continue
        in_use = is_locked(folder / LOCK)
        for file in sorted(folder.iterdir()):
            if file.suffix != ".frame":
                continue
            try:
                yield Entry(read_header(file), in_use=in_use)
            except FileNotFoundError:
                continue  # answered meanwhile
            except OSError as error:
                log.warning("%s: %s", file, error.strerror)
