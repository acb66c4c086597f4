"""PNGs that are broken in parts that decoding does not need, or cut near the end."""

from __future__ import annotations

import zlib

import pytest
from PIL import Image, ImageChops

from tests.faults.hostile import containers as c
from tests.wire.picture.repaired import encode, lying, reason, same
from wire.picture.decoding import decode_picture


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
