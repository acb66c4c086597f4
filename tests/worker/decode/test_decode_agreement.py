"""Exact decoding gives torchvision's own pixels, and fast decoding the labels of exact decoding."""

from __future__ import annotations

import functools
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.worker.decode.pools import decode_here
from tests.worker.photos import FOLDER
from wire.model_choice import ModelChoice
from worker.decode.image import decode
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine
from worker.engines.select import open_model
from worker.models import catalog
from worker.models.info import EFFICIENTNET_LITE0, Model

PIXELS = 10**9


def recipes() -> Dict[Tuple[int, int, str], str]:
    """Each distinct resize, crop and interpolation among torchvision's weights, and one model that has it."""
    found: Dict[Tuple[int, int, str], str] = {}
    for name in catalog.names():
        for weights in [] if name == EFFICIENTNET_LITE0 else catalog.weights_of(name):
            recipe = catalog.preprocessing_of(weights)
            key = (recipe.resize, recipe.crop, recipe.interpolation)
            found.setdefault(key, f"{name}@{weights.name}")
    return found


@pytest.mark.parametrize("spec", recipes().values(), ids=lambda spec: spec.replace("@", "-"))
def test_the_pixels_are_those_of_torchvisions_transforms(spec: str) -> None:
    name, _, weights_name = spec.partition("@")
    weights = catalog.find_weights(name, weights_name)
    recipe = catalog.preprocessing_of(weights)
    transforms = weights.transforms()
    # Theirs: what Inception v3 does with its pixels itself is in our recipe.
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transforms.mean, transforms.std))
    # Landscape, portrait, square, smaller than any crop; sides that no factor divides.
    for photo, size in (
        ("rocket.jpg", None),
        ("coffee.png", (333, 401)),
        ("astronaut.png", None),
        ("chelsea.png", (97, 61)),
    ):
        with Image.open(FOLDER / photo) as opened:
            image = opened.convert("RGB")
        image = image.resize(size) if size else image
        payload = io.BytesIO()
        image.save(payload, "PNG")
        decoded = decode(payload.getvalue(), recipe, PIXELS, exact=True)
        pixels = np.frombuffer(decoded.pixels, np.uint8).reshape(recipe.shape)
        normalised = (torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255 - mean) / std
        expected = transforms(image)
        assert normalised.shape == expected.shape
        difference = ((normalised - expected) * std * 255).abs()
        # Pillow rounds to whole numbers between its horizontal and its vertical pass, and takes first the one
        # that leaves less to do: for a crop that may be the other one. Where bicubic overshoots black or
        # white, the clipping in between differs as well.
        assert difference.mean() < 0.2
        assert (difference > 1.01).float().mean() < 0.001
        assert difference.max() < 8


@pytest.fixture(scope="module")
def crops_of_photos() -> List[bytes]:
    """JPEGs of crops of scikit-image's photos, of what the model has learned, at the sizes of cameras."""
    rng = np.random.default_rng(0)
    names = [
        "camera.png",
        "coffee.png",
        "rocket.jpg",
        "chelsea.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
    ]
    photos = []
    for name in names:
        with Image.open(FOLDER / name) as image:
            photos.append(image.convert("RGB"))
    crops = []
    for number in range(510):
        photo = photos[number % len(photos)]
        share = rng.uniform(0.5, 1.0)
        width, height = (int(side * share) for side in photo.size)
        left, top = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
        crops.append(photo.crop((left, top, left + width, top + height)))

    def encode(number: int) -> bytes:
        crop = crops[number]
        scale = (720, 1080, 1536, 1944, 2160)[number % 5] / min(crop.size)
        size = (round(crop.width * scale), round(crop.height * scale))
        payload = io.BytesIO()
        crop.resize(size, Image.Resampling.LANCZOS).save(
            payload, "JPEG", quality=(75, 90)[number % 2], subsampling=(0, 2)[number // 2 % 2]
        )
        return payload.getvalue()

    with ThreadPoolExecutor() as pool:
        return list(pool.map(encode, range(len(crops))))


@pytest.fixture(scope="module")
def opened(weights_dir: Path) -> Tuple[Model, Engine]:
    return open_model(
        ModelChoice(model="efficientnet_lite0"),
        engine="onnxruntime",
        device="cpu",
        max_batch=8,
        weights_dir=weights_dir,
    )


@pytest.mark.parametrize("resize", [256, 232])  # its own; that of torchvision's newer weights
def test_fast_and_exact_decoding_give_the_same_label(
    crops_of_photos: List[bytes], opened: Tuple[Model, Engine], resize: int
) -> None:
    model, engine = opened
    recipe = replace(model.preprocessing, resize=resize)
    with ThreadPoolExecutor() as pool:
        fast = list(pool.map(lambda jpeg: _pixels(jpeg, recipe, False), crops_of_photos))
        exact = list(pool.map(lambda jpeg: _pixels(jpeg, recipe, True), crops_of_photos))
    drafted = np.array([(one != other).any() for one, other in zip(fast, exact)])
    assert drafted.sum() >= 300, "on the others the two ways are the same, and show nothing"
    found, expected = (_infer(engine, images) for images in (fast, exact))
    same = found.argmax(1) == expected.argmax(1)
    best = np.sort(expected, axis=1)
    sure = best[:, -1] - best[:, -2] > 0.05
    print(
        f"top-1 agreement {same.mean():.4f} on {len(same)} crops, {same[drafted].mean():.4f} on the", end=" "
    )
    print(f"{drafted.sum()} that libjpeg scales, {same[sure].mean():.4f} on the {sure.sum()} clear ones")
    assert same.mean() >= 0.99
    assert same[sure].all()


def _pixels(payload: bytes, preprocessing: Preprocessing, exact: bool) -> NDArray[np.uint8]:
    as_worker = functools.partial(decode, exact=True) if exact else decode_here
    decoded = as_worker(payload, preprocessing, max_pixels=PIXELS)
    return np.frombuffer(decoded.pixels, np.uint8).reshape(preprocessing.shape)


def _infer(engine: Engine, images: List[NDArray[np.uint8]]) -> NDArray[np.float32]:
    batches = [np.stack(images[start : start + 8]) for start in range(0, len(images), 8)]
    return np.concatenate([engine.infer(batch) for batch in batches])
