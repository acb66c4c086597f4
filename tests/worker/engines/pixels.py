"""Pixels as a recipe orders them, and the metadata of a tool that says which it wants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.decode.preprocessing import Preprocessing


def ordered(shown: NDArray[np.uint8], recipe: Preprocessing) -> NDArray[np.uint8]:
    """As the decoders would bring them."""
    return shown[..., ::-1] if recipe.channels == "bgr" else shown


ULTRALYTICS = {
    "author": "Ultralytics",
    "task": "classify",
    "imgsz": "[16, 16]",
    "names": "{0: 'a', 1: 'b', 2: 'c'}",
    "stride": "1",
}
