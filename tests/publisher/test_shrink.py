"""Shrinking is one decoding with the worker's: the same picture, only smaller."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps

from wire.decoder.shrinker import Shrinker, Shrunk
from wire.picture.decoding import decode_picture

Shrink = Callable[[bytes, int], Shrunk]
REPOSITORY = Path(__file__).resolve().parents[2]
ORIENTATION = 0x0112


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def apart(one: Image.Image, other: Image.Image) -> float:
    pixels = [np.asarray(image.convert("RGB")).astype(np.int16) for image in (one, other)]
    return float(np.abs(pixels[0] - pixels[1]).mean())


@pytest.fixture(scope="module")
def shrink() -> Iterator[Shrink]:
    """Shrink pictures, with a process for each size."""
    with contextlib.ExitStack() as stack:
        shrinkers: Dict[int, Shrinker] = {}

        def of(content: bytes, max_side: int) -> Shrunk:
            if max_side not in shrinkers:
                shrinkers[max_side] = stack.enter_context(Shrinker(max_side))
            return shrinkers[max_side].shrink(content)

        yield of


@pytest.fixture(scope="module")
def coffee(photos: Path) -> Image.Image:
    with Image.open(photos / "coffee.png") as image:
        return image.convert("RGB")


def exif(*entries: Any, extra: bytes = b"") -> bytes:
    """An EXIF block that says to turn the picture by 90 degrees, and has odd entries beside that."""
    at = 8 + 2 + 12 * (len(entries) + 1) + 4
    body = struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0)
    for tag, kind, count, value in entries:
        body += struct.pack("<HHI", tag, kind, count) + (value or struct.pack("<I", at))
    directory = struct.pack("<H", len(entries) + 1) + body + bytes(4)
    return b"Exif\0\0II*\0\x08\0\0\0" + directory + extra


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_shape_is_kept_and_it_is_upright(
    shrink: Shrink, coffee: Image.Image, kind: str, orientation: int
) -> None:
    tag = Image.Exif()
    tag[ORIENTATION] = orientation
    content = encode(coffee, kind, exif=tag)
    small = opened(shrink(content, 300).content)
    assert (small.format, small.size) == ("JPEG", (300, 200) if orientation < 5 else (200, 300))
    assert not small.getexif()
    upright = ImageOps.exif_transpose(opened(content))
    assert apart(small, upright.resize(small.size, Image.Resampling.BICUBIC)) < 4


def test_small_images_stay_as_they_are(shrink: Shrink, photos: Path) -> None:
    content = (photos / "rocket.jpg").read_bytes()
    assert shrink(content, 1000) == (content, "")


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff broken", b"\x89PNG\r\n\x1a\nbroken"])
def test_what_is_no_image_is_left_to_the_workers_rejection(shrink: Shrink, content: bytes) -> None:
    shrunk = shrink(content, 100)
    assert shrunk.content is content
    assert shrunk.kept


def test_16_bits_become_8(shrink: Shrink, coffee: Image.Image) -> None:
    grey = np.asarray(coffee.convert("L"))
    content = encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    small = opened(shrink(content, 300).content)
    assert apart(small, coffee.convert("L").resize((300, 200), Image.Resampling.BICUBIC)) < 3


@pytest.mark.parametrize(
    "block",
    [
        exif((0x011A, 10, 1, b""), extra=struct.pack("<ii", -1, 0)),
        exif((0x011A, 2, 4, b"72\0\0")),
        exif((0x0128, 2, 4, b"in\0\0")),
        exif((0x0100, 2, 4, b"192\0")),
        exif((0x927C, 7, 2**31, b"")),
    ],
    ids=["signed resolution", "resolution in text", "unit in text", "width in text", "maker note that lies"],
)
def test_exif_that_pillow_cannot_write(shrink: Shrink, coffee: Image.Image, block: bytes) -> None:
    content = encode(coffee.transpose(Image.Transpose.ROTATE_90), exif=block)
    small = opened(shrink(content, 300).content)
    assert small.size == (300, 200)
    assert apart(small, coffee.resize((300, 200), Image.Resampling.BICUBIC)) < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode(shrink: Shrink, coffee: Image.Image, mode: str) -> None:
    content = encode(coffee.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    expected = decode_picture(content).image.resize((300, 200), Image.Resampling.BICUBIC)
    assert apart(opened(shrink(content, 300).content), expected) < (20 if mode in ("1", "P") else 4)


@pytest.mark.parametrize("size", [(9000, 8000), (6000, 11000)])
def test_phone_pixels_are_shrunk(shrink: Shrink, size: Any) -> None:
    content = encode(Image.linear_gradient("L").resize(size), quality=40)
    small = opened(shrink(content, 640).content)
    assert max(small.size) == 640


def test_what_is_incomplete_is_sent_as_it_is(shrink: Shrink, coffee: Image.Image) -> None:
    """Shrunk, it would pass as whole."""
    whole = encode(coffee)
    assert shrink(whole[:-2], 300).content[:2] == b"\xff\xd8"
    assert shrink(whole[:-2], 300).content != whole[:-2]
    cut = whole[: int(len(whole) * 0.95)]
    assert shrink(cut, 300) == (cut, "a part of it is missing")


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000), (17, 4001)])
def test_thin_images(shrink: Shrink, size: Any) -> None:
    small = opened(shrink(encode(Image.new("RGB", size, (9, 99, 199)), "PNG"), 100).content)
    assert max(small.size) == 100
    assert min(small.size) >= 1


def test_without_pillow_it_says_what_to_install_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"image")
    code = "import sys; sys.modules['PIL'] = None; from fleet.cli import main; sys.exit(main())"
    flags = ["--max-side", "100", "--spool-dir", str(tmp_path / "spool"), "--broker", "mqtt://127.0.0.1:1"]
    run = subprocess.run(
        [sys.executable, "-c", code, "publish", str(tmp_path / "one.jpg"), *flags],
        check=False,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "pip install '.[camera]'" in run.stderr
    assert "no broker yet" not in run.stderr
    assert not (tmp_path / "spool").exists()
