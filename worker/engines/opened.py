"""A model that is open: its engine, warm, and the files that it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from wire.model_choice import ModelChoice
from worker.engines.base import Engine
from worker.engines.onnx.files import files_of_onnx, is_onnx
from worker.models.info import Model

#: Of a file: its number, its size in bytes, and when it was written; None where there is none.
Version = Optional[Tuple[int, int, int]]


class Opened(NamedTuple):
    """What came of a choice."""

    #: Those that the choice named, as they were before they were read.
    files: Dict[Path, Version]
    model: Model
    engine: Engine


def files_of(choice: ModelChoice) -> Dict[Path, Version]:
    """The files that a choice names, and those that these name."""
    named: List[Path] = []
    for path in choice.files:
        named += files_of_onnx(path) if is_onnx(path.name) else [path]
    return {path: version_of(path) for path in named}


def version_of(path: Path) -> Version:
    """What tells a file from another one in its place."""
    try:
        stat = path.stat()
    except (OSError, ValueError):  # not there, or of a name that no file can have
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def are_there_still(files: Dict[Path, Version]) -> bool:
    """Whether no file has been replaced since."""
    return all(version_of(path) == version for path, version in files.items())
