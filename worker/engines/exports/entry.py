"""One export as it is kept: KEY.onnx, and KEY.json, which says what it is and what it was made from.

The key has the hash of an own checkpoint. Of a NAME's weights it has none: their file is found by its name,
and may have been replaced, or its package upgraded, since the export. It may also not be there at all, where
the export was copied from another machine.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Optional, Tuple

from pydantic import BaseModel, ConfigDict, ValidationError

from wire.errors import SettingsError
from wire.files import PUBLIC, sync, write_whole
from worker.models.info import EFFICIENTNET_LITE0, Model
from worker.models.weights import efficientnet_lite0_file, lock, sha256_of


class Entry(BaseModel):
    """The content of KEY.json."""

    model_config = ConfigDict(frozen=True)

    model: Model
    #: Name of the file of weights, in the weights folder or in its package; None for an own checkpoint.
    file: Optional[str] = None
    #: Its size and times when it was last seen to be what was exported: it is not hashed at each start. The
    #: time of the last change of any kind is among them, which nobody can set.
    seen: Optional[Tuple[int, int, int]] = None

    def write(self, path: Path, *, lasting: bool) -> None:
        """Write the KEY.json of an export.

        Raises:
            OSError: it cannot be written.
        """
        file = path.with_suffix(".json")
        with lock(file):  # else another worker's start takes what is half written for a leftover
            write_whole(file, self.model_dump_json().encode(), PUBLIC, lasting=lasting)

    def weights(self, weights_dir: Path) -> Optional[Path]:
        """The file of weights that PyTorch would load here; None if none is to be compared."""
        if self.file is None:
            return None
        if self.model.name != EFFICIENTNET_LITE0:
            return weights_dir / Path(self.file).name
        try:
            return Path(efficientnet_lite0_file())
        except SettingsError:  # its package is not installed
            return None


def put(path: Path, graph: Path, entry: Entry) -> None:
    """Make a graph an entry, or replace one: at no time does a KEY.json stand beside another's graph.

    Raises:
        OSError: it cannot be written.
    """
    sync(graph)  # before its description: an entry counts from that on, also after a power cut
    with contextlib.suppress(FileNotFoundError):
        path.with_suffix(".json").unlink()
    graph.replace(path)
    entry.write(path, lasting=True)


def find(path: Path, weights_dir: Path, sha256: Optional[str]) -> Tuple[Optional[Model], str]:
    """The model of an entry that can be served, and else why there is none, as part of a sentence.

    Args:
        path: of its graph.
        weights_dir: where weights are kept.
        sha256: what is demanded of its weights, if anything.
    """
    entry = read(path)
    if entry is None:
        return None, f"there is no export of it in {path.parent}"
    model = entry.model
    if sha256 is not None:
        if model.sha256 == sha256:  # whatever lies there now
            return model, ""
        return (
            None,
            f"its export is of weights with the SHA-256 {model.sha256}, not {sha256} as --sha256 demands",
        )
    file = entry.weights(weights_dir)
    if file is None or _is_of(entry, file, path):
        return model, ""
    return None, f"{file} is not what its export was made from"


def read(path: Path) -> Optional[Entry]:
    """The entry beside a graph; None if it, or the graph, is not there or damaged."""
    try:
        entry = Entry.model_validate_json(path.with_suffix(".json").read_bytes())
    except (OSError, ValidationError):
        return None
    return entry if path.exists() else None


def _is_of(entry: Entry, file: Path, path: Path) -> bool:
    """Whether a file of weights is what an entry was made from, or is not there to say so."""
    try:
        state = file.stat()
        seen = (state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if seen == entry.seen:
            return True
        if sha256_of(file) != entry.model.sha256:
            return False
    except OSError:
        return True
    # Under the lock: another process may be about to replace both files.
    with contextlib.suppress(OSError), lock(path, timeout=0):
        if read(path) == entry:
            entry.model_copy(update={"seen": seen}).write(path, lasting=False)
    return True
