"""A region of a picture is decoded as if the rest of it was not there."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wire.picture.region import WHOLE
from worker.decode.image import decode
from worker.decode.preprocessing import Preprocessing

CROP = Preprocessing(resize=64, crop=56)
SQUEEZE = Preprocessing(resize=56, crop=56, fit="squeeze")
PAD = Preprocessing(resize=56, crop=56, fit="pad")


def png(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(payload: bytes, preprocessing: Preprocessing, region: tuple[float, ...] = WHOLE) -> np.ndarray:
    decoded = decode(payload, preprocessing, region=region)
    return np.frombuffer(decoded.pixels, np.uint8).reshape(preprocessing.shape).astype(int)


@pytest.mark.parametrize("preprocessing", [CROP, SQUEEZE, PAD], ids=["crop", "squeeze", "pad"])
@pytest.mark.parametrize("region", [(0.25, 0.1, 0.75, 0.9), (0.0, 0.5, 1.0, 1.0), (0.5, 0.0, 0.75, 0.25)])
def test_it_is_the_picture_that_was_cut_out(
    photos: Path, preprocessing: Preprocessing, region: tuple[float, ...]
) -> None:
    with Image.open(photos / "coffee.png") as opened:
        image = opened.convert("RGB").crop((0, 0, 600, 400))
    left, top, right, bottom = (round(part * side) for part, side in zip(region, (600, 400, 600, 400)))
    cut_out = image.crop((left, top, right, bottom))
    difference = np.abs(pixels(png(image), preprocessing, region) - pixels(png(cut_out), preprocessing))
    # Where the filter reaches over the region's edge, it sees what is there; padding has that edge inside.
    assert difference[4:-4, 4:-4].max() <= 1 or preprocessing is PAD
    assert difference.mean() < 1


def test_a_jpeg_that_libjpeg_scales_shows_the_same_region(photos: Path) -> None:
    with Image.open(photos / "coffee.png") as opened:
        image = opened.convert("RGB").resize((2400, 1600))
    region = (0.25, 0.25, 0.75, 0.75)
    fast = decode(png(image, "JPEG", quality=95), CROP, region=region)
    exact = decode(png(image, "JPEG", quality=95), CROP, region=region, exact=True)
    assert (fast.width, fast.height) == (2400, 1600)
    found = np.abs(np.frombuffer(fast.pixels, np.uint8).astype(int) - np.frombuffer(exact.pixels, np.uint8))
    assert found.mean() < 3


def test_a_turned_picture_is_cut_as_it_is_seen() -> None:
    upright = Image.new("RGB", (300, 400), (255, 0, 0))
    upright.paste((0, 0, 255), (0, 0, 300, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    lying = png(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif.tobytes())
    top = pixels(lying, CROP, (0.0, 0.0, 1.0, 0.45)).mean(axis=(0, 1))
    bottom = pixels(lying, CROP, (0.0, 0.55, 1.0, 1.0)).mean(axis=(0, 1))
    assert (top[0] < 20, top[2] > 230) == (True, True)
    assert (bottom[0] > 230, bottom[2] < 20) == (True, True)


@pytest.mark.parametrize("preprocessing", [CROP, SQUEEZE, PAD], ids=["crop", "squeeze", "pad"])
@pytest.mark.parametrize(
    "region", [(0.5, 0.5, 0.501, 0.501), (0.9999, 0.9999, 1.0, 1.0), (0.0, 0.0, 1.0, 0.001)]
)
def test_of_a_region_smaller_than_a_pixel_a_pixel_is_left(
    preprocessing: Preprocessing, region: tuple[float, ...]
) -> None:
    image = Image.new("RGB", (20, 10), (10, 200, 30))
    shown = pixels(png(image), preprocessing, region)
    assert shown.max() == 200
    middle = shown[preprocessing.shape[0] // 2, preprocessing.shape[1] // 2]
    assert middle.tolist() == [10, 200, 30]


def test_the_size_in_the_answer_is_that_of_the_whole_picture() -> None:
    decoded = decode(png(Image.new("RGB", (20, 10))), CROP, region=(0.0, 0.0, 0.5, 0.5))
    assert (decoded.width, decoded.height) == (20, 10)
