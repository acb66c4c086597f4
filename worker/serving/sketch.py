"""Whether a picture still shows what an earlier one did, by the pixels that the model gets.

pixels ──> sketch: the mean of each colour in each block ──> shows_the_same: does any block stand out?

Measured on nine of scikit-image's photos as a camera of 640x480 pixels sends them, in pixels for a model of
224: by how many levels, of 255, the block differs that differs most (tests/worker/serving/test_sketch.py
repeats the main ones). Where nothing has changed, at most, but
    JPEG of quality 75 to 90, noise of 1 to 8 levels            4
    JPEG of quality 40 to 50, noise of 1 to 5 levels            7
    light that is adjusted by 2%, by 5%                         5, 11
    the camera, shifted by a pixel                             17
and where something has entered, at least, and half of the times
    a cat, a cup, a face or a wheel, on 2% of the picture      41, 110
    the same on 0.25%                                          14, 50
    a cat or a face on 2%, at 15% of the light                  8, 16
By grey levels alone, which are quieter by half, one in ten of the smallest would be missed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Blocks on a side, at most: of 224 pixels, 8 by 8 are a block.
GRID = 28
#: A block stands out if it differs by so many times as much as half of the blocks do: where these are quiet,
#: in the dark say, a faint thing is seen.
TIMES = 15.0
#: But never by less than the first, which JPEG's losses make of a picture that is still; and by more than the
#: second in any case.
LEAST, MOST = 5.0, 10.0
#: Levels by which a whole colour may have become brighter or darker: cameras adjust exposure and white
#: balance all the time.
MOST_LIGHT = 8.0


def sketch(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean of each colour in each block: uint8 [H, W, C] -> float32 [rows, columns, C].

    Means are quiet where single pixels are not, with a sensor's noise and with JPEG's. What is left over at
    the edges, less than half a block at each, is left out.
    """
    height, width, colours = pixels.shape
    tall, wide = -(-height // GRID), -(-width // GRID)
    rows, columns = height // tall, width // wide
    top, left = height % tall // 2, width % wide // 2
    inner = pixels[top : top + rows * tall, left : left + columns * wide]
    # Whole lines first, and not both axes at once, which takes numpy ten times as long.
    lines = inner.reshape(rows, tall, -1).sum(axis=1, dtype=np.uint32)
    blocks = np.einsum("rcwd->rcd", lines.reshape(rows, columns, wide, colours))
    means: NDArray[np.float32] = np.divide(blocks, tall * wide, dtype=np.float32)
    return means


def shows_the_same(before: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    """Whether two sketches of one size are of the same picture, but for noise and a little light."""
    change = (now - before).reshape(-1, now.shape[-1])
    light = _medians(change)
    if np.abs(light).max() > MOST_LIGHT:
        return False
    change = np.abs(change - light)
    noise = float(_medians(change.reshape(-1, 1))[0])
    return float(change.max()) <= min(max(TIMES * noise, LEAST), MOST)


def _medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each column; `np.median` takes five times as long."""
    middle = len(values) // 2
    medians: NDArray[np.float32] = np.partition(values, middle, axis=0)[middle]
    return medians
