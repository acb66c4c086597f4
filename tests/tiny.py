"""A model for tests in which labels do not matter: it loads in milliseconds, and computes next to nothing."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path
from typing import Tuple

#: What statuses and Results call the model, and its weights.
TINY_NAME, TINY = "tiny", "tiny.onnx"
#: It answers with the channel of which a picture has most.
LABELS = ("red", "green", "blue")
#: What it calls these of scikit-image's photos.
COFFEE = CHELSEA = "red"
ROCKET = "blue"

_FOLDER = tempfile.TemporaryDirectory(prefix="nanofleet-tiny-")


@functools.lru_cache(maxsize=None)
def tiny_model() -> Tuple[str, ...]:
    """Write the model, once a process, and return the worker's flags for it."""
    return write_tiny(Path(_FOLDER.name), TINY)


def write_tiny(folder: Path, name: str, *, swapped: bool = False) -> Tuple[str, ...]:
    """Write such a model and its labels into a folder, and return the worker's flags for it.

    Args:
        folder: where they are written.
        name: of the model's file.
        swapped: it answers with the channel of which a picture has least.
    """
    from tests.worker.engines.graphs import Net  # imports onnx, which few tests need

    net = Net()
    scores = net.add("Neg", net.means()) if swapped else net.means()
    path = net.give(net.add("Softmax", scores, axis=1)).save(folder / name)
    labels = path.with_suffix(".txt")
    labels.write_text("\n".join(LABELS), encoding="utf-8")
    pin = hashlib.sha256(path.read_bytes()).hexdigest()  # or it would be tried, in a process of its own
    # And what the file does not tell, or the log would warn of it.
    return (
        *("--model", str(path), "--labels", str(labels), "--sha256", pin),
        *("--scaling", "unit", "--channels", "rgb", "--fit", "squeeze"),
    )
