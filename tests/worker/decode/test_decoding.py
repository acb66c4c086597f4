from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.worker.decode.pools import decode_here
from wire.picture.errors import Undecodable
from worker.decode.image import Decoded, decode
from worker.decode.preprocessing import Preprocessing

RECIPE = Preprocessing(resize=256, crop=224)
RECIPES = [
    RECIPE,
    Preprocessing(resize=342, crop=299),
    Preprocessing(resize=232, crop=224),
    Preprocessing(resize=256, crop=224, interpolation="bicubic"),
]
MAX_PIXELS = 64_000_000
ORIENTATION = 0x0112
FORMATS = ["JPEG", "PNG", "WEBP"]


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Losslessly if the format can; fast rather than small."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **{"compress_level": 1, "lossless": True, "method": 0, **options})
    return buffer.getvalue()


def open_(payload: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(payload))
    image.load()
    return image


def array(decoded: Decoded, crop: int = RECIPE.crop) -> NDArray[np.int16]:
    return np.frombuffer(decoded.pixels, np.uint8).reshape(crop, crop, 3).astype(np.int16)


def difference(one: NDArray[np.int16], other: NDArray[np.int16]) -> Tuple[float, int]:
    """Mean and maximum, of 255."""
    apart = np.abs(one - other)
    return float(apart.mean()), int(apart.max())


def reject(payload: bytes, max_pixels: int = MAX_PIXELS) -> Undecodable:
    """Why a payload is refused, in words that can stand in a log and in JSON."""
    with pytest.raises(Undecodable) as caught:
        decode(payload, RECIPE, max_pixels)
    error = caught.value
    assert error.detail
    assert len(error.detail) < 200
    assert error.detail.isascii()
    assert error.detail.isprintable()
    assert "0x" not in error.detail, "an address in memory"
    return error


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def coffee(photos: Path) -> Image.Image:
    """600 x 400, in colour."""
    with Image.open(photos / "coffee.png") as image:
        return image.convert("RGB")


def torchvision_pixels(image: Image.Image, recipe: Preprocessing) -> NDArray[np.int16]:
    pytest.importorskip("torchvision")
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    prepare = Compose(
        [Resize(recipe.resize, InterpolationMode(recipe.interpolation)), CenterCrop(recipe.crop)]
    )
    return np.asarray(prepare(image.convert("RGB"))).astype(np.int16)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.resize}-{r.crop}-{r.interpolation}")
@pytest.mark.parametrize("photo", ["coffee", "chelsea", "motorcycle_left", "cell", "page", "logo"])
def test_equals_torchvision(photos: Path, photo: str, recipe: Preprocessing) -> None:
    payload = (photos / f"{photo}.png").read_bytes()
    image = open_(payload)

    decoded = decode(payload, recipe, MAX_PIXELS)

    assert (decoded.width, decoded.height) == image.size
    mean, most = difference(array(decoded, recipe.crop), torchvision_pixels(image, recipe))
    print(f"{photo} {image.size}: mean {mean:.5f}, max {most}")
    assert most <= 2
    assert mean < 0.01


@pytest.mark.parametrize("side", [255, 257, 333, 400])
def test_equals_torchvision_whatever_the_rounding(coffee: Image.Image, side: int) -> None:
    for size in ((side, 411), (517, side), (side + 1, side)):
        image = coffee.resize(size)
        decoded = decode(encode(image, "PNG"), RECIPE, MAX_PIXELS)
        assert difference(array(decoded), torchvision_pixels(image, RECIPE))[1] <= 1


@pytest.mark.parametrize("short", [511, 512, 1080, 1600])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_scaled_by_libjpeg_stays_close(coffee: Image.Image, short: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = coffee.resize((short * 3 // 2, short), Image.Resampling.BICUBIC)
    payload = encode(image, "JPEG", quality=90, exif=exif)
    whole = ImageOps.exif_transpose(open_(payload))

    decoded = decode(payload, RECIPE, MAX_PIXELS)

    assert (decoded.width, decoded.height) == whole.size
    exact = decode(encode(whole, "PNG", exif=b""), RECIPE, MAX_PIXELS)
    mean, most = difference(array(decoded), array(exact))
    print(f"{image.size}: mean {mean:.3f}, max {most}")
    assert mean < 1.5


def test_a_large_jpeg_is_scaled_by_libjpeg(coffee: Image.Image) -> None:
    """That shows in noise: from all its pixels, the result would be exact."""
    noise = Image.effect_noise((2048, 2048), 100)
    payload = encode(noise, "JPEG", quality=95)
    exact = decode(encode(open_(payload), "PNG"), RECIPE, MAX_PIXELS)
    assert difference(array(decode(payload, RECIPE, MAX_PIXELS)), array(exact))[0] > 0.5


def of_mode(coffee: Image.Image, mode: str) -> bytes:
    if mode == "YCCK":
        payload = encode(coffee.convert("CMYK"), "JPEG")
        transform = payload.index(b"Adobe") + 11
        assert payload[transform] == 0
        return payload[:transform] + b"\2" + payload[transform + 1 :]
    if mode == "P+transparency":
        return encode(coffee.quantize(64), "PNG", transparency=bytes(range(64)))
    if mode == "L+transparency":
        return encode(coffee.convert("L"), "PNG", transparency=7)
    if mode == "RGBA+WEBP":
        image = coffee.copy()
        image.putalpha(coffee.convert("L"))
        return encode(image, "WEBP", exact=True)
    image = coffee.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(coffee.convert("L"))
    return encode(image, "JPEG" if mode == "CMYK" else "PNG")


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "P", "P+transparency", "L+transparency", "RGBA", "RGBA+WEBP", "CMYK", "YCCK"],
)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_every_mode_is_what_convert_makes_of_it(coffee: Image.Image, mode: str) -> None:
    payload = of_mode(coffee, mode)
    converted = decode(encode(open_(payload).convert("RGB"), "PNG"), RECIPE, MAX_PIXELS)
    decoded = decode(payload, RECIPE, MAX_PIXELS)
    assert len(set(decoded.pixels)) > 100, "no picture at all"
    assert decoded == converted


def test_16_bit_is_scaled_not_clipped(coffee: Image.Image) -> None:
    grey = np.asarray(coffee.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    assert decode(encode(deep, "PNG"), RECIPE, MAX_PIXELS) == decode(
        encode(Image.fromarray(grey), "PNG"), RECIPE, MAX_PIXELS
    )


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured(photos: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    with Image.open(photos / "chelsea.png") as image:
        payload = encode(image, kind, exif=exif)
    upright = ImageOps.exif_transpose(open_(payload))

    decoded = decode(payload, RECIPE, MAX_PIXELS)

    assert (decoded.width, decoded.height) == ((300, 451) if orientation >= 5 else (451, 300))
    assert decoded == decode(encode(upright, "PNG", exif=b""), RECIPE, MAX_PIXELS)


@pytest.mark.parametrize("junk", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x9c" * 200])
def test_an_unreadable_exif_block_is_ignored(coffee: Image.Image, junk: bytes) -> None:
    assert decode(encode(coffee, "JPEG", exif=junk), RECIPE, MAX_PIXELS) == decode(
        encode(coffee, "JPEG"), RECIPE, MAX_PIXELS
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_an_animation_is_its_first_picture(coffee: Image.Image, kind: str) -> None:
    kind = "MPO" if kind == "JPEG" else kind
    moving = encode(coffee, kind, save_all=True, append_images=[ImageOps.mirror(coffee)])
    still = encode(coffee, "JPEG" if kind == "MPO" else kind)
    assert decode(moving, RECIPE, MAX_PIXELS) == decode(still, RECIPE, MAX_PIXELS)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (3, 40_000), (16, 9), (223, 225)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_small_and_extreme_sizes(size: Tuple[int, int], kind: str) -> None:
    decoded = decode(encode(Image.new("RGB", size, (200, 100, 50)), kind, quality=100), RECIPE, MAX_PIXELS)
    assert (decoded.width, decoded.height) == size
    assert np.abs(array(decoded) - (200, 100, 50)).max() <= 2


def test_empty() -> None:
    assert reject(b"").reason == "empty"


@pytest.mark.parametrize(
    ("payload", "hint"),
    [
        (b"hello, world\n", "text"),
        (b"<html><body>401 Unauthorized</body></html>", "text"),
        (bytes(1000), "00 00 00 00"),
        (random.Random(1).getrandbits(8000).to_bytes(1000, "big"), "begins with the bytes"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"\0\0\0\x20ftypheic" + bytes(20), "HEIC"),
        (b"\x89PN", "89 50 4e"),
    ],
)
def test_no_image(payload: bytes, hint: str) -> None:
    error = reject(payload)
    assert error.reason == "not_an_image"
    assert hint in error.detail


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated(coffee: Image.Image, kind: str) -> None:
    payload = encode(coffee, kind)
    for length in (12, 40, 100, len(payload) // 2, len(payload) * 8 // 10):
        error = reject(payload[:length])
        assert error.reason == "corrupt_image"
        assert kind in error.detail


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_end_as_undecodable_or_as_pixels(coffee: Image.Image, kind: str) -> None:
    payload = encode(coffee.resize((60, 40)), kind)
    dice = random.Random(kind)
    reasons = set()
    for _ in range(200):
        hostile = bytearray(payload)
        for _ in range(dice.randrange(1, 12)):
            hostile[dice.randrange(len(hostile))] = dice.randrange(256)
        try:
            assert len(decode_here(bytes(hostile), max_pixels=1_000_000).pixels) == 224 * 224 * 3
        except Undecodable as error:
            reasons.add(error.reason)
    assert {"corrupt_image"} <= reasons <= {"corrupt_image", "not_an_image", "image_too_large"}


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_compressed_chunk_that_explodes(name: bytes) -> None:
    bomb = chunk(name, b"comment\0\0" + zlib.compress(bytes(50_000_000), 1))
    assert reject(png(8, 8, bomb)).reason == "corrupt_image"


def test_size_is_checked_before_anything_is_decoded() -> None:
    error = reject(png(30_000, 30_000))
    assert error.reason == "image_too_large"
    assert "64000000" in error.detail
    error = reject(png(9000, 8000))
    assert error.reason == "image_too_large"
    assert "9000 x 8000" in error.detail


@pytest.mark.parametrize("kind", FORMATS)
def test_max_pixels_is_exact(coffee: Image.Image, kind: str) -> None:
    payload = encode(coffee, kind)
    assert decode(payload, RECIPE, 600 * 400).width == 600
    assert reject(payload, 600 * 400 - 1).reason == "image_too_large"


@pytest.mark.parametrize(("resize", "crop"), [(224, 225), (256, 0), (0, 0)])
def test_a_recipe_that_makes_no_sense(resize: int, crop: int) -> None:
    with pytest.raises(ValueError, match=r"cannot crop|no pixels are left"):
        Preprocessing(resize=resize, crop=crop)
