"""Pictures to compare engines by: drawn, because no photographs come with nanofleet.

backdrop, light from one side ──> leaves that cover each other, of all sizes ──> shadows ──> grain

Such "dead leaves" have what photographs have: edges of objects before others, few large and many small ones,
and as much of each spatial frequency. A network trained on photographs tells them apart, and is sure of some.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

#: So many that a share of 0.99 of them can be told from one of 0.97.
COUNT = 200
_LEAVES = 120


def drawn(shape: Tuple[int, int, int], count: int = COUNT) -> NDArray[np.uint8]:
    """uint8 [count, H, W, C]: always the same ones."""
    rng = np.random.default_rng(7)
    pictures = np.stack([_picture(rng, shape[1], shape[0]) for _ in range(count)])
    if shape[2] == 1:
        gray: NDArray[np.uint8] = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
        return gray
    return pictures


def _picture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    palette = rng.integers(0, 256, (rng.integers(2, 7), 3))
    image = Image.fromarray(_smooth(rng, width, height, 3))
    draw = ImageDraw.Draw(image)
    least = rng.uniform(0.01, 0.3)
    for _ in range(int(rng.integers(3, _LEAVES))):
        # Sizes by a power law: as many of each size as cover the same area.
        side = max(width, height) * least / np.sqrt(rng.uniform(least**2, 1))
        _leaf(rng, draw, side, width, height, tuple(_near(rng, palette)))
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2))))
    light = _smooth(rng, width, height, 1).astype(np.float32) / 255 + 0.4
    grain = rng.normal(0, rng.uniform(0, 12), (height, width, 1))
    return np.clip(np.asarray(image) * light[..., None] + grain, 0, 255).astype(np.uint8)


def _leaf(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    side: float,
    width: int,
    height: int,
    colour: Tuple[int, ...],
) -> None:
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    if rng.random() < 0.5:
        other = side * rng.uniform(0.3, 1)
        draw.ellipse((x - side / 2, y - other / 2, x + side / 2, y + other / 2), fill=colour)
        return
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
    corners = [(x + side / 2 * np.cos(angle), y + side / 2 * np.sin(angle)) for angle in angles]
    draw.polygon(corners, fill=colour)


def _near(rng: np.random.Generator, palette: NDArray[np.int64]) -> NDArray[np.int64]:
    colour: NDArray[np.int64] = palette[rng.integers(len(palette))] + rng.integers(-25, 26, 3)
    return colour.clip(0, 255)


def _smooth(rng: np.random.Generator, width: int, height: int, channels: int) -> NDArray[np.uint8]:
    """Noise of low frequencies."""
    few = int(rng.integers(2, 6))
    noise = rng.integers(0, 256, (few, few, channels)).astype(np.uint8)
    image = Image.fromarray(noise if channels > 1 else noise[..., 0])
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
