"""Crop, squeeze and pad; RGB, BGR and grey: as torchvision and Pillow have them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from worker.decode.image import decode
from worker.decode.preprocessing import Preprocessing

ORIENTATION = 0x0112
SIZES = [(451, 300), (300, 451), (512, 512), (97, 61), (1000, 30), (64, 64), (1, 200)]


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(payload: bytes, recipe: Preprocessing, **options: Any) -> NDArray[np.int16]:
    decoded = decode(payload, recipe, **options)
    return np.frombuffer(decoded.pixels, np.uint8).reshape(recipe.shape).astype(np.int16)


def difference(one: NDArray[np.int16], other: Any) -> Tuple[float, int]:
    apart = np.abs(one - np.asarray(other).astype(np.int16).reshape(one.shape))
    return float(apart.mean()), int(apart.max())


@pytest.fixture(scope="module")
def chelsea(photos: Path) -> Image.Image:
    with Image.open(photos / "chelsea.png") as image:
        return image.convert("RGB")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(224, 224), (96, 160), (160, 96)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squeeze_is_torchvisions_resize(
    chelsea: Image.Image, size: Tuple[int, int], shape: Tuple[int, int], interpolation: Any
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = chelsea.resize(size)
    recipe = Preprocessing(256, shape[0], interpolation, fit="squeeze", width=shape[1])
    expected = transforms.Resize(shape, transforms.InterpolationMode(interpolation))(image)
    assert difference(pixels(encode(image), recipe), expected) == (0.0, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(224, 224), (96, 160), (160, 96)])
def test_pad_is_pillows_pad(chelsea: Image.Image, size: Tuple[int, int], shape: Tuple[int, int]) -> None:
    image = chelsea.resize((max(2, size[0]), size[1]))  # what would have no column left is an error in Pillow
    recipe = Preprocessing(256, shape[0], fit="pad", width=shape[1])
    expected = ImageOps.pad(image, shape[::-1], Image.Resampling.BILINEAR)
    assert difference(pixels(encode(image), recipe), expected) == (0.0, 0)


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (512, 512), (97, 61)])
@pytest.mark.parametrize(
    ("resize", "shape"), [(256, (192, 224)), (232, (224, 160)), (160, (160, 160)), (96, (96, 96))]
)
def test_crop_is_torchvisions_resize_and_crop(
    chelsea: Image.Image, size: Tuple[int, int], resize: int, shape: Tuple[int, int]
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = chelsea.resize(size)
    recipe = Preprocessing(resize, shape[0], width=shape[1])
    expected = transforms.CenterCrop(shape)(transforms.Resize(resize)(image))
    assert difference(pixels(encode(image), recipe), expected)[1] <= 2


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (1000, 30)])
@pytest.mark.parametrize("shape", [(96, 192), (192, 96)])
def test_a_crop_that_is_not_square_covers_all_of_it(
    chelsea: Image.Image, size: Tuple[int, int], shape: Tuple[int, int]
) -> None:
    """Its own short side, resized, would leave black at the edges of a wide model."""
    image = chelsea.resize(size)
    recipe = Preprocessing(96, shape[0], width=shape[1])
    found = pixels(encode(image), recipe)
    expected = ImageOps.fit(image, shape[::-1], Image.Resampling.BILINEAR)
    assert difference(found, expected)[0] < 6  # up to half a pixel apart


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "I;16"])
def test_channels(chelsea: Image.Image, fit: Any, mode: str) -> None:
    payload = encode(chelsea.convert("L").convert("I;16") if mode == "I;16" else chelsea.convert(mode))
    rgb = pixels(payload, Preprocessing(128, 112, fit=fit, width=96))
    bgr = pixels(payload, Preprocessing(128, 112, fit=fit, width=96, channels="bgr"))
    grey = pixels(payload, Preprocessing(128, 112, fit=fit, width=96, channels="gray"))
    assert (rgb.shape, bgr.shape, grey.shape) == ((112, 96, 3), (112, 96, 3), (112, 96, 1))
    assert (bgr == rgb[:, :, ::-1]).all()
    luma = Image.fromarray(rgb.astype(np.uint8)).convert("L")
    assert difference(grey, luma)[1] <= 2
    assert len(np.unique(grey)) > 30 or mode in ("1", "I;16")


def test_grey_is_pillows_l(chelsea: Image.Image) -> None:
    recipe = Preprocessing(300, 300, fit="squeeze", width=451, channels="gray")
    assert difference(pixels(encode(chelsea), recipe), chelsea.convert("L")) == (0.0, 0)


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_before_it_is_fitted(chelsea: Image.Image, fit: Any, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    recipe = Preprocessing(96, 96, fit=fit, width=160)
    payload = encode(chelsea, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(payload)))
    assert difference(pixels(payload, recipe), pixels(encode(upright, exif=b""), recipe)) == (0.0, 0)


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(1601, 1203), (3000, 400), (401, 3001)])
def test_libjpegs_scaling_leaves_enough(
    chelsea: Image.Image, fit: Any, orientation: int, size: Tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    payload = encode(chelsea.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=92, exif=exif)
    for width in (96, 64, 160):
        recipe = Preprocessing(96, 96, fit=fit, width=width)
        mean, most = difference(pixels(payload, recipe), pixels(payload, recipe, exact=True))
        assert mean < 1.5
        assert most < 60


def test_what_libjpeg_scales_is_large_in_each_direction(chelsea: Image.Image) -> None:
    """A panorama squeezed into a square needs all its rows, though it has columns to spare."""
    noise = Image.effect_noise((2400, 230), 100)
    payload = encode(noise, "JPEG", quality=95)
    recipe = Preprocessing(224, 224, fit="squeeze")
    assert difference(pixels(payload, recipe), pixels(payload, recipe, exact=True)) == (0.0, 0)
    padded = Preprocessing(224, 224, fit="pad")
    assert difference(pixels(payload, padded), pixels(payload, padded, exact=True))[1] > 0
