"""JPEGs and WebPs that are broken in parts that decoding does not need, and junk around any picture."""

from __future__ import annotations

import io
import re
import struct
from typing import Callable, Dict

import pytest
from PIL import Image

from tests.faults.hostile import containers as c
from tests.wire.picture.repaired import JUNK, encode, lying, reason, same
from wire.picture.decoding import decode_picture
from wire.picture.errors import Undecodable

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
