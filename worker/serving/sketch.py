"""Whether a picture still shows what an earlier one did, by the pixels that the model gets.

pixels ──> sketch: the mean of each colour in each block ──> shows_the_same: does any block stand out, or
                                                             faintly a large part of the picture?

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

Smoke, or somebody before a wall of nearly one colour, is large and too faint for that. Hence also, by how
many levels a sixteenth of the picture differs, that which differs most. Where nothing has changed, at most
    JPEG of quality 40 to 85, noise of 1 to 8 levels            1.0
    light or white balance, adjusted by 3%                      1.4
    a gamma of 0.95, or 10% of the light in the dark            1.9
and where a quarter has become brighter or darker by 6 levels, at least, and half of the times
    with a soft edge, in sixteen photos                       2.3, 4.3
For this, light is taken off as the factor that it is: else 3% of it are 4.6.
"""

from __future__ import annotations

from typing import Any

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
#: Share by which light may have changed a colour's contrast; what goes beyond is another change.
MOST_CONTRAST = 0.05
#: Parts on a side, at most, that are compared for what is large and faint.
PARTS = 4
#: Levels by which such a part may differ, but for the light.
MOST_OF_A_PART = 2.0


def sketch(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean of each colour in each block: uint8 [H, W, C] -> float32 [rows, columns, C].

    Means are quiet where single pixels are not, with a sensor's noise and with JPEG's.
    """
    return _means(pixels, GRID)


def shows_the_same(before: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    """Whether two sketches of one size are of the same picture, but for noise and a little light."""
    change = (now - before).reshape(-1, now.shape[-1])
    light = _medians(change)
    if np.abs(light).max() > MOST_LIGHT:
        return False
    of_blocks = np.abs(change - light)
    noise = float(_medians(of_blocks.reshape(-1, 1))[0])
    if of_blocks.max() > min(max(TIMES * noise, LEAST), MOST):
        return False
    return bool(np.abs(_of_parts(before, change)).max() <= MOST_OF_A_PART)


def _of_parts(before: NDArray[np.float32], change: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much each large part differs, without what the light, as a factor, has done to it."""
    values = before.reshape(change.shape)
    values = values - values.mean(axis=0)
    power = np.einsum("bc,bc->c", values, values)
    contrast = np.einsum("bc,bc->c", values, change) / np.maximum(power, 1.0)
    rest = change - np.clip(contrast, -MOST_CONTRAST, MOST_CONTRAST) * values
    return _means((rest - _medians(rest)).reshape(before.shape), PARTS)


def _means(values: NDArray[Any], grid: int) -> NDArray[np.float32]:
    """Those of each block, on a grid of at most so many blocks a side.

    What is left over at the edges, less than half a block at each, is left out.
    """
    height, width, colours = values.shape
    tall, wide = -(-height // grid), -(-width // grid)
    rows, columns = height // tall, width // wide
    top, left = height % tall // 2, width % wide // 2
    inner = values[top : top + rows * tall, left : left + columns * wide]
    # Whole lines first, and not both axes at once, which takes numpy ten times as long.
    sums = np.uint32 if values.dtype == np.uint8 else np.float32
    lines = inner.reshape(rows, tall, -1).sum(axis=1, dtype=sums)
    blocks = np.einsum("rcwd->rcd", lines.reshape(rows, columns, wide, colours))
    means: NDArray[np.float32] = np.divide(blocks, tall * wide, dtype=np.float32)
    return means


def _medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each column; `np.median` takes five times as long."""
    middle = len(values) // 2
    medians: NDArray[np.float32] = np.partition(values, middle, axis=0)[middle]
    return medians
