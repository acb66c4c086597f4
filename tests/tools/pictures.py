"""Pictures that are made the same everywhere: one colour at each corner, blended between them."""

from __future__ import annotations

import random
from typing import Any, Tuple

import numpy as np
from PIL import Image


def pixels(seed: int, size: Tuple[int, int]) -> Any:
    """uint8 [height, width, 3], for a size of (width, height)."""
    draw = random.Random(seed)
    tint = [draw.uniform(0.25, 1) for _ in range(3)]
    corners = np.array([[draw.uniform(0, 255) * shade for shade in tint] for _ in range(4)])
    width, height = size
    across = np.linspace(0, 1, width)[None, :, None]
    down = np.linspace(0, 1, height)[:, None, None]
    top = corners[0] * (1 - across) + corners[1] * across
    bottom = corners[2] * (1 - across) + corners[3] * across
    return np.rint(top * (1 - down) + bottom * down).astype(np.uint8)


def picture(seed: int, size: Tuple[int, int]) -> Image.Image:
    """The same as an image."""
    return Image.fromarray(pixels(seed, size))
