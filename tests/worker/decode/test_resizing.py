"""The faster resizer gives Pillow's pixels within 1, and where it does not, decoders stay with Pillow."""

from __future__ import annotations

import io
import os
import platform
import random
import re
import sys
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.worker.decode.pools import RECIPE, Outcomes, open_pool, the_decoder
from wire.picture.region import WHOLE
from worker.decode import decoder
from worker.decode.image import decode
from worker.decode.preprocessing import Preprocessing
from worker.decode.resizing import Resize, by_pillow, open_simd

PHOTOS = ("coffee.png", "rocket.jpg", "chelsea.png", "astronaut.png")
ALL_MODES = ("RGB", "L", "RGBA", "LA", "CMYK", "P", "1")


@pytest.fixture(scope="module")
def simd() -> Resize:
    has_wheel = platform.machine() == "x86_64" and (3, 10) <= sys.version_info < (3, 15)
    if not (has_wheel and os.environ.get("CI")):
        pytest.importorskip("cykooz_resizer")
    return open_simd()


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    """No test sees what an earlier one has found out about the resizer."""
    decoder.simd_is_fit.cache_clear()
    yield
    decoder.simd_is_fit.cache_clear()


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def apart(payload: bytes, recipe: Preprocessing, resize: Resize, **options: Any) -> NDArray[np.int16]:
    """How far the pixels are from those that Pillow's resizing gives."""
    one, other = (
        np.frombuffer(decode(payload, recipe, resize=each, **options).pixels, np.uint8).astype(np.int16)
        for each in (resize, by_pillow)
    )
    return np.abs(one - other)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("side", [1920, 640, 90])
@pytest.mark.parametrize("is_wide", [True, False], ids=["wide", "tall"])
def test_photos_are_resized_as_by_pillow(
    photos: Path, simd: Resize, name: str, side: int, is_wide: bool
) -> None:
    with Image.open(photos / name) as opened:
        photo = opened.convert("RGB")
    landscape = photo.resize((side, side * photo.height // photo.width))
    exif = Image.Exif()
    exif[0x0112] = 1 if is_wide else 6
    jpeg = encode(landscape, "JPEG", quality=85, exif=exif)
    for recipe in (
        Preprocessing(232, 224),
        Preprocessing(342, 299, channels="bgr"),
        Preprocessing(256, 224, "bicubic"),
        Preprocessing(256, 160, fit="squeeze", width=96),
        Preprocessing(256, 224, fit="pad", channels="gray"),
    ):
        for region in (WHOLE, (0.1, 0.2, 0.55, 0.9), (0.99, 0.0, 1.0, 0.01)):
            difference = apart(jpeg, recipe, simd, region=region)
            assert difference.max() <= 2
            assert (difference > 1).mean() < 1e-4
            # Over others, such as tall ones, Pillow 13 takes the two passes in another order.
            usual = is_wide and side >= 640 and region == WHOLE
            assert difference.mean() < (0.01 if usual else 0.25)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_every_kind_of_picture_is_resized_as_by_pillow(photos: Path, simd: Resize, mode: str) -> None:
    with Image.open(photos / "coffee.png") as opened:
        image = opened.convert("RGB").convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    payload = encode(image, "JPEG" if kind == "TIFF" else kind)
    for channels in ("rgb", "gray"):
        assert apart(payload, Preprocessing(256, 224, channels=channels), simd).max() <= 1  # type: ignore[arg-type]


def test_any_part_of_any_picture(simd: Resize) -> None:
    dice = random.Random(7)
    for _ in range(400):
        interpolation = dice.choice(("bilinear", "bicubic"))
        width, height = (int(2 ** dice.uniform(0, 10)) for _ in range(2))
        image = Image.effect_noise((width, height), 90)
        image = image if dice.random() < 0.5 else Image.merge("RGB", (image, image, image))
        left, right = sorted(dice.uniform(0, width) for _ in range(2))
        top, bottom = sorted(dice.uniform(0, height) for _ in range(2))
        box = (left, top, max(right, min(left + 0.5, width)), max(bottom, min(top + 0.5, height)))
        size = (dice.randrange(1, 400), dice.randrange(1, 400))
        resized = simd(image, size, interpolation, box)
        assert (resized.size, resized.mode) == (size, image.mode)
        expected = by_pillow(image, size, interpolation, box)
        difference = np.abs(np.asarray(resized, np.int16) - np.asarray(expected, np.int16))
        assert difference.max() <= 2, (interpolation, image.size, box, size)
        assert difference.mean() < 0.4


@pytest.mark.parametrize(
    ("size", "wanted", "interpolation"),
    [
        ((30, 20), (60, 50), "bicubic"),
        ((300, 400), (60, 50), "bicubic"),
        ((1 << 20, 1), (224, 224), "bilinear"),
        ((1, 1 << 20), (224, 224), "bilinear"),
    ],
)
def test_what_it_is_not_for_is_left_to_pillow(
    simd: Resize, size: Any, wanted: Any, interpolation: str
) -> None:
    """Some bicubic ones differ; of a picture that is long enough, it would end the process without memory."""
    image = Image.effect_noise(size, 90)
    box = (0.0, 0.0, *map(float, size))
    ours, pillows = (each(image, wanted, interpolation, box) for each in (simd, by_pillow))
    assert ours.tobytes() == pillows.tobytes()


def test_other_modes_are_left_to_pillow(simd: Resize) -> None:
    image = Image.radial_gradient("L").convert("LA")
    box = (0.0, 0.0, 256.0, 256.0)
    assert simd(image, (99, 99), "bilinear", box).tobytes() == image.resize((99, 99), 2, box).tobytes()


def test_decoders_resize_with_it(simd: Resize, outcomes: Outcomes, photo: bytes) -> None:
    """Behind the fence as well."""
    with open_pool(outcomes) as pool:
        pool.submit("frame", photo)
        assert outcomes.pixels().array.tobytes() == decode(photo, RECIPE, resize=simd).pixels
        assert b"simd" in Path(f"/proc/{the_decoder()}/cmdline").read_bytes().split(b"\0")


def test_exact_decoding_resizes_with_pillow(outcomes: Outcomes, photo: bytes) -> None:
    with open_pool(outcomes, exact=True) as pool:
        pool.submit("frame", photo)
        assert outcomes.pixels().array.tobytes() == decode(photo, RECIPE, exact=True).pixels


#: A cykooz_resizer that differs, by what its resize_pil does.
FAKE = """
import ctypes, enum, threading
class FilterType(enum.Enum):
    bilinear = 2
    catmull_rom = 3
class ResizeAlg:
    convolution = staticmethod(lambda kind: kind)
class CropBox:
    def __init__(self, *box): pass
class ResizeOptions:
    def __init__(self, algorithm, crop_box): pass
class Resizer:
    def resize_pil(self, source, target, options):
        {fault}
"""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("pass", r"gives pixels that differ by \d+ from Pillow's, of RGB pictures"),
        ("ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("raise ValueError('no such box')", ""),
        ("threading.Thread(target=print).start()", "RuntimeError: can't start new thread"),
        ("raise RuntimeError('built for Pillow 9')", "RuntimeError: built for Pillow 9"),
    ],
    ids=["other pixels", "crash", "refused", "threads", "error"],
)
def test_one_that_does_not_fit_this_machine(
    outcomes: Outcomes,
    photo: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    said: str,
) -> None:
    (tmp_path / "cykooz_resizer.py").write_text(FAKE.format(fault=fault), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    with open_pool(outcomes, processes=2) as pool:
        pool.submit("frame", photo)
        assert outcomes.pixels().array.tobytes() == decode(photo, RECIPE).pixels
    assert len(caplog.messages) == bool(said)
    assert re.fullmatch(f"(.* takes longer: cykooz-resizer {said})?", "".join(caplog.messages))
