"""Decoding as a worker's decoders do it, in this process: with the resizer that they would take here."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from worker.decode.decoder import simd_is_fit
from worker.decode.image import decode as decode_to
from worker.decode.preprocessing import Preprocessing
from worker.decode.resizing import by_pillow, open_simd


class _Resizer(threading.local):
    """A thread's own: the fast one holds a lock while it works."""

    def __init__(self) -> None:
        self.resize = open_simd() if simd_is_fit() else by_pillow


_RESIZER = _Resizer()


def decode(jpeg: bytes, recipe: Preprocessing) -> NDArray[np.uint8]:
    """uint8 [H, W, C], as the recipe has it."""
    pixels = decode_to(jpeg, recipe, resize=_RESIZER.resize).pixels
    return np.frombuffer(pixels, np.uint8).reshape(recipe.shape)
