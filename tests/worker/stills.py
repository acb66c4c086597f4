"""What a still camera sends: the same scene again and again, and no two pictures alike."""

from __future__ import annotations

import io
from typing import Tuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tests.worker.photos import FOLDER
from worker.decode.image import decode
from worker.decode.preprocessing import Preprocessing

SIZE = (640, 480)


def scene(name: str) -> Image.Image:
    """One of scikit-image's photos, at a camera's size."""
    return Image.open(FOLDER / name).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)


def jpeg(seen: Image.Image, seed: int, *, quality: int = 75, noise: float = 3.0, gain: float = 1.0) -> bytes:
    """A camera's picture of a scene.

    Args:
        seen: the scene.
        seed: of the noise.
        quality: JPEG's.
        noise: standard deviation of each pixel, of 255.
        gain: of the exposure.
    """
    light = np.asarray(seen, np.float32) * gain
    light = light + np.random.default_rng(seed).normal(0, noise, light.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def with_cat(seen: Image.Image, share: float, at: Tuple[float, float]) -> Image.Image:
    """A scene with a cat's head in it, which is round.

    Args:
        seen: the scene.
        share: of the square in its middle, which models look at.
        at: where in that square, from 0 to 1.
    """
    square = min(seen.size)
    side = round(square * share**0.5)
    cat = Image.open(FOLDER / "chelsea.png").convert("RGB").crop((110, 20, 330, 240)).resize((side, side))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
    entered = seen.copy()
    left, top = ((length - square) // 2 for length in seen.size)
    entered.paste(cat, (left + round(at[0] * (square - side)), top + round(at[1] * (square - side))), mask)
    return entered


def with_haze(seen: Image.Image, levels: float, at: Tuple[float, float]) -> Image.Image:
    """A scene of which a quarter is a little brighter or darker: smoke, or a shadow, with a soft edge.

    Args:
        seen: the scene.
        levels: by how much, of 255.
        at: where in the square in its middle, from 0 to 1.
    """
    square = min(seen.size)
    left, top = ((length - square) // 2 for length in seen.size)
    left, top = left + round(at[0] * square / 2), top + round(at[1] * square / 2)
    mask = Image.new("L", seen.size)
    ImageDraw.Draw(mask).rectangle((left, top, left + square // 2, top + square // 2), fill=255)
    share = np.asarray(mask.filter(ImageFilter.GaussianBlur(square / 12)), np.float32)[..., None] / 255
    light = np.asarray(seen, np.float32) + levels * share
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def pixels(payload: bytes, side: int = 224) -> NDArray[np.uint8]:
    """A picture as a model of that size gets it, by the fast decoding that workers do."""
    preprocessing = Preprocessing(resize=side, crop=side)
    return np.frombuffer(decode(payload, preprocessing).pixels, np.uint8).reshape(preprocessing.shape)
