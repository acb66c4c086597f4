"""Pictures whose pixels are all right, in files that are broken where nobody needs it."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from PIL import Image, ImageChops

from tests.faults.hostile import containers as c
from wire.picture.decoding import Picture, decode_picture
from wire.picture.errors import Undecodable

ORIENTATION = 0x0112
JUNK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + bytes(range(200)) * 20


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **{"lossless": True, "method": 0, **options})
    return buffer.getvalue()


def lying() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif.tobytes()


@pytest.fixture(scope="module")
def chelsea(photos: Path) -> Image.Image:
    with Image.open(photos / "chelsea.png") as image:
        return image.convert("RGB")


def same(picture: Picture, payload: bytes) -> bool:
    expected = decode_picture(payload)
    return picture._replace(image=0) == expected._replace(image=0) and (  # type: ignore[arg-type]
        picture.image.tobytes() == expected.image.tobytes()
    )


def reason(payload: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_picture(payload)
    return caught.value.reason


# --- PNG --------------------------------------------------------------------------------------------------


def into_png(good: bytes, *chunks: bytes) -> bytes:
    return good[:33] + b"".join(chunks) + good[33:]


PNG_PARTS = {
    "iCCP, wrong CRC": c.chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(b"x"), crc=1),
    "iCCP, no profile": c.chunk(b"iCCP", b"name\0\0" + b"nonsense"),
    "iCCP that explodes": c.chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50_000_000), 1)),
    "zTXt, wrong CRC": c.chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x"), crc=1),
    "zTXt that explodes": c.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 1)),
    "tEXt, wrong CRC": c.chunk(b"tEXt", b"Software\0x", crc=7),
    "iTXt, wrong CRC": c.chunk(b"iTXt", b"k\0\0\0\0\0x", crc=7),
    "tIME, wrong CRC": c.chunk(b"tIME", bytes(7), crc=1),
    "gAMA, wrong CRC": c.chunk(b"gAMA", bytes(4), crc=1),
    "gAMA, too short": c.chunk(b"gAMA", b""),
    "cHRM, wrong length": c.chunk(b"cHRM", b"1"),
    "pHYs, wrong CRC": c.chunk(b"pHYs", bytes(9), crc=1),
    "pHYs, too short": c.chunk(b"pHYs", b"12"),
    "sRGB, too short": c.chunk(b"sRGB"),
    "eXIf, wrong CRC": c.chunk(b"eXIf", b"MM\0\x2a", crc=1),
    "a private one, wrong CRC": c.chunk(b"prVt", b"x" * 100, crc=1),
    "acTL, wrong CRC": c.chunk(b"acTL", bytes(8), crc=1),
}


@pytest.mark.parametrize("part", PNG_PARTS.values(), ids=PNG_PARTS)
def test_a_png_without_a_part_that_nobody_needs(chelsea: Image.Image, part: bytes) -> None:
    good = encode(chelsea, "PNG", compress_level=1)
    assert same(decode_picture(into_png(good, part)), good)
    assert same(decode_picture(good[:-12] + part + good[-12:]), good), "behind the pixels"


def test_what_a_png_needs_is_kept(chelsea: Image.Image) -> None:
    broken = PNG_PARTS["tIME, wrong CRC"]
    turned = encode(chelsea, "PNG", exif=lying(), compress_level=1)
    picture = decode_picture(into_png(turned, broken))
    assert (picture.width, picture.height) == (300, 451)
    assert same(picture, turned)
    clear = encode(chelsea.quantize(64), "PNG", transparency=bytes(range(64)))
    assert same(decode_picture(into_png(clear, broken)), clear)
    deep = encode(chelsea.convert("I;16"), "PNG")
    assert same(decode_picture(into_png(deep, broken)), deep)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_of_what_a_png_needs_is_an_error(chelsea: Image.Image, name: bytes) -> None:
    wrong = bytearray(encode(chelsea.quantize(64), "PNG"))
    at = wrong.index(name)
    length = int.from_bytes(wrong[at - 4 : at], "big")
    wrong[at + 4 + length] ^= 1
    assert reason(bytes(wrong)) == "corrupt_image"


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_is_cut(chelsea: Image.Image, interlaced: bool) -> None:
    good = interlace(chelsea) if interlaced else encode(chelsea, "PNG", compress_level=1)
    assert same(decode_picture(good[:-12]), good), "no IEND"
    assert same(decode_picture(good[:-14]), good), "no checksum"
    end = good[-12:]
    assert same(decode_picture(good[:-14] + end), good), "an end where its last bytes are missing"
    if interlaced:
        assert reason(good[: int(len(good) * 0.97)]) == "corrupt_image"
        return
    nearly = decode_picture(good[: int(len(good) * 0.95)])
    assert (nearly.complete, nearly.width, nearly.height) == (False, 451, 300)
    assert not decode_picture(good[: int(len(good) * 0.95)] + end).complete
    assert reason(good[: int(len(good) * 0.8)] + end) == "corrupt_image"
    upper = (0, 0, 451, 260)
    assert nearly.image.crop(upper).tobytes() == chelsea.crop(upper).tobytes()
    assert nearly.image.crop((0, 298, 451, 299)).tobytes() == nearly.image.crop((0, 299, 451, 300)).tobytes()
    for share in (0.8, 0.5, 0.1):
        assert reason(good[: int(len(good) * share)]) == "corrupt_image"


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "1"])
def test_what_fills_up_a_png_that_is_cut_is_not_taken_for_pixels(
    chelsea: Image.Image, mode: str, level: int
) -> None:
    image = chelsea.quantize(64) if mode == "P" else chelsea.convert(mode)
    good = encode(image, "PNG", compress_level=level)
    expected = decode_picture(good).image
    for share in (0.999, 0.99, 0.95, 0.92):
        cut = good[: int((len(good) - 60) * share)]
        alone = decode_picture(cut)
        assert not alone.complete
        lost = ImageChops.difference(alone.image, expected).getbbox()
        assert lost
        assert lost[1] > 300 * 7 / 8
        for tail in (good[-12:], bytes(100), bytes(400), bytes(5000)):
            padded = decode_picture(cut + tail)
            assert not padded.complete
            below = ImageChops.difference(padded.image, alone.image).getbbox()
            assert below is None or below[1] >= lost[1] - 18, "a few zeros may be pixels"
    assert same(decode_picture(good[:-12] + bytes(400)), good)
    assert reason(good[: int(len(good) * 0.8)] + bytes(400)) == "corrupt_image"


def test_an_interlaced_png_that_is_cut_and_filled_up(chelsea: Image.Image) -> None:
    good = interlace(chelsea)
    for lost in (100, 400):
        assert reason(good[: len(good) - lost] + bytes(400)) == "corrupt_image"


def interlace(image: Image.Image) -> bytes:
    """An Adam7 PNG."""
    rows = []
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    pixels = image.tobytes()
    for left, top, across, down in passes:
        for y in range(top, image.height, down):
            row = pixels[y * image.width * 3 : (y + 1) * image.width * 3]
            rows.append(b"\0" + b"".join(row[3 * x : 3 * x + 3] for x in range(left, image.width, across)))
    return c.png(c.ihdr(*image.size, 8, 2, 1), c.idat(b"".join(rows), 1))


# --- JPEG -------------------------------------------------------------------------------------------------

JPEG_PARTS = {
    "junk": b"\x01\x02\x03junk",
    "zeros": bytes(3000),
    "a second start": b"\xff\xd8",
    "fill bytes": b"\xff" * 50,
    "an EXIF block of nonsense": c.segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "an EXIF block of no length": b"\xff\xe1\0\0",
    "an EXIF block of length 1": b"\xff\xe1\0\1",
    "a JFIF block of one byte": c.segment(0xE0, b"J"),
    "a JFIF block without its end": c.segment(0xE0, b"JFIF\0"),
    "an ICC profile of nonsense": c.segment(0xE2, b"ICC_PROFILE\0\1\xffnonsense"),
    "an ICC profile without its number": c.segment(0xE2, b"ICC_PROFILE\0"),
    "an MPF block of nonsense": c.segment(0xE2, b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\4\0\1\0\0\0\2\0\0\0"),
    "a Photoshop block that lies": c.segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff"),
    "a Photoshop resolution of nothing": c.segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\0"),
    "an Adobe block of one byte": c.segment(0xEE, b"A"),
    "an Adobe block without its end": c.segment(0xEE, b"Adobe\0"),
    "an empty comment": c.segment(0xFE),
    "a comment that is too short, and its rest": c.segment(0xFE, b"abc") + b"defgh",
    "a marker that is reserved": c.segment(0xF3, b"abc"),
    "a thumbnail behind a wrong length": b"\xff\xe1\0\x0cExif\0\0abcd"
    + c.SOI
    + c.segment(0xDB, bytes(65))
    + c.EOI,
}


@pytest.mark.parametrize("part", JPEG_PARTS.values(), ids=JPEG_PARTS)
def test_a_jpeg_with_a_part_that_nobody_needs(chelsea: Image.Image, part: bytes) -> None:
    good = encode(chelsea, "JPEG")
    pieces = c.pieces(good)
    assert same(decode_picture(b"".join([pieces[0], part, *pieces[1:]])), good), "behind the start marker"
    assert same(decode_picture(b"".join([*pieces[:2], part, *pieces[2:]])), good), "behind the JFIF block"
    turned = encode(chelsea, "JPEG", exif=lying())
    pieces = c.pieces(turned)
    picture = decode_picture(b"".join([*pieces[:3], part, *pieces[3:]]))
    assert (picture.width, picture.height) == (300, 451)
    assert same(picture, turned)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "around",
    [
        lambda good: b"\r\n" + good,
        lambda good: JUNK + good,
        lambda good: bytes(4096) + good,
        lambda good: good + b"\r\n--frame--\r\n",
        lambda good: good + bytes(5000),
        lambda good: JUNK + good + JUNK,
    ],
    ids=["newline", "headers", "zeros", "boundary behind", "zeros behind", "both"],
)
def test_junk_around_a_picture(chelsea: Image.Image, kind: str, around: Callable[[bytes], bytes]) -> None:
    good = encode(chelsea, kind)
    assert same(decode_picture(around(good)), good)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (b"GIF89a" + bytes(20), "GIF"),
        (b"II*\0" + bytes(20), "TIFF"),
        (b"\0\0\0\x20ftypheic" + bytes(20), "HEIC"),
        (b"\0\0\0\x20ftypavif" + bytes(20), "AVIF"),
        (b"RIFF\0\0\0\0AVI " + bytes(20), "AVI"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        (b"BM" + bytes(30), "BMP"),
        (b"x" * 9000, "text"),
    ],
)
def test_a_picture_within_another_kind_of_file_is_none(chelsea: Image.Image, other: bytes, name: str) -> None:
    payload = other + encode(chelsea, "JPEG")
    with pytest.raises(Undecodable, match=name) as caught:
        decode_picture(payload)
    assert caught.value.reason == "not_an_image"


# --- WebP -------------------------------------------------------------------------------------------------


def into_webp(good: bytes, *behind: bytes, flags: int = 0, length: int = -1) -> bytes:
    width, height = Image.open(io.BytesIO(good)).size
    image = b"".join(c.pieces(good)[1:])
    body = c.webp(c.vp8x(width, height, flags), image, *behind)
    return body if length < 0 else body[:4] + struct.pack("<I", length) + body[8:]


WEBP_PARTS: Dict[str, Callable[[bytes], bytes]] = {
    "EXIF of nonsense": lambda good: into_webp(good, c.riff_chunk(b"EXIF", b"nonsense"), flags=8),
    "EXIF that is cut": lambda good: into_webp(good, c.riff_chunk(b"EXIF", bytes(90)), flags=8)[:-40],
    "EXIF announced and not there": lambda good: into_webp(good, flags=8),
    "XMP that is cut": lambda good: into_webp(good, c.riff_chunk(b"XMP ", bytes(90)), flags=4)[:-40],
    "a profile announced and not there": lambda good: into_webp(good, flags=0x20),
    "a length of 0": lambda good: into_webp(good, length=0),
    "a length that is too short": lambda good: into_webp(good, length=100),
    "a length that is too long": lambda good: into_webp(good, length=len(good) + 1000),
    "a plain one, too long": lambda good: good[:4] + struct.pack("<I", len(good) + 99) + good[8:],
    "a plain one, too short": lambda good: good[:4] + struct.pack("<I", 20) + good[8:],
    "a chunk without its end": lambda good: into_webp(good) + b"abcd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("broken", WEBP_PARTS.values(), ids=WEBP_PARTS)
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_with_a_part_that_nobody_needs(
    chelsea: Image.Image, broken: Callable[[bytes], bytes], lossless: bool
) -> None:
    good = encode(chelsea, "WEBP", lossless=lossless)
    assert same(decode_picture(broken(good)), good)


def test_the_orientation_of_a_webp_is_kept(chelsea: Image.Image) -> None:
    good = encode(chelsea, "WEBP", exif=lying())
    picture = decode_picture(good[:4] + bytes(4) + good[8:])
    assert (picture.width, picture.height) == (300, 451)


def test_a_webp_that_is_cut_is_an_error(chelsea: Image.Image) -> None:
    good = encode(chelsea, "WEBP")
    for share in (0.99, 0.9, 0.5):
        assert reason(good[: int(len(good) * share)]) == "corrupt_image"


@pytest.mark.parametrize("lossless", [True, False])
def test_of_an_animated_webp_that_is_cut_the_first_picture_is_enough(
    chelsea: Image.Image, lossless: bool
) -> None:
    others = [chelsea.rotate(90), chelsea.rotate(180)]
    good = encode(chelsea, "WEBP", lossless=lossless, save_all=True, append_images=others)
    second, third = (match.start() for match in list(re.finditer(b"ANMF", good))[1:])
    for end in (len(good) - 100, third + 50, third, second + 500, second):
        assert same(decode_picture(good[:end]), good)
    assert reason(good[: second - 500]) == "corrupt_image"
