"""Where graphs are made, of an export or of one in int8: beside the weights, or in a temporary folder."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple, TypeVar

from wire.files import part_of
from wire.private import writers
from worker.engines.child import cleaning_up_first, run_child
from worker.engines.leftovers import temporary_folder
from worker.models.weights import remove_part

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


@contextlib.contextmanager
def made_by_child(
    path: Path, module: str, arguments: Sequence[str], stop: Optional[threading.Event]
) -> Iterator[Tuple[Path, Dict[str, Any]]]:
    """Have a child process make a graph, which is there for the block's time, to be put in its place.

    Args:
        path: that place, which the caller has locked.
        module: the main of the process; its further arguments are the graph's path, the level of its log, and
            this process's folder.
        arguments: its first ones.
        stop: set to give up.

    Yields:
        The graph, if it was made, and what the process answers; see `run_child`.

    Raises:
        OSError: nothing can be made there.
        NanofleetError: `stop` was set.
    """
    part = part_of(path)
    with cleaning_up_first():
        try:
            remove_part(part)
            # Of the folder's owner alone, as temporary files are: the libraries leave some.
            part.mkdir(mode=0o700)
            graph = part / "graph.onnx"
            level = logging.getLevelName(log.getEffectiveLevel())
            given = [*arguments, str(graph), level, str(Path.cwd())]
            yield graph, run_child(module, given, stop=stop, environment={"TMPDIR": str(part)})
        finally:
            remove_part(part)


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
