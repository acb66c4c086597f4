"""WebPs: broken and lying ones, and odd ones that do show a picture."""

from __future__ import annotations

import struct
from typing import Iterator

from tests.faults.hostile import containers as c
from tests.faults.hostile.kind import RESULT, Kind


def webps(good: bytes) -> Iterator[Kind]:
    """WebPs that are cut off, contradict themselves, explode, or are odd."""
    first, *chunks = c.pieces(good)
    image = b"".join(chunks)
    lossless = b"\x2f" + struct.pack("<I", 16383 | 16383 << 14)
    corrupt = {
        "RIFF header only": first,
        "cut off in its pixels": good[: len(good) // 2],
        "no picture": c.webp(c.vp8x(8, 8)),
        "an empty picture": c.webp(c.riff_chunk(b"VP8 ", b"")),
        "a picture of nonsense": c.webp(
            c.riff_chunk(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\x10\0\x10\0" + bytes(50))
        ),
        "a lossless picture of nonsense": c.webp(c.riff_chunk(b"VP8L", b"\x2f\x0f\xc0\x03\0" + b"\x9c" * 50)),
        "no width": c.webp(c.riff_chunk(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\0\0\0\0" + bytes(50))),
        "an animation of no frames": c.webp(c.vp8x(8, 8, 2), c.riff_chunk(b"ANIM", bytes(6))),
        "a frame larger than its animation": c.webp(
            c.vp8x(8, 8, 2), c.riff_chunk(b"ANIM", bytes(6)), c.anmf(999, 999, image)
        ),
        "a chunk of 4 GB": first + b"VP8 \xff\xff\xff\xff" + bytes(100),
    }
    for name, payload in corrupt.items():
        yield Kind(f"WebP: {name}", payload, "corrupt_image")
    for name, payload in {
        "16384 x 16384": c.webp(c.riff_chunk(b"VP8L", lossless + bytes(50))),
        "16777216 pixels each way": c.webp(c.vp8x(1 << 24, 1 << 24), image),
    }.items():
        yield Kind(f"WebP: {name}", payload, "image_too_large corrupt_image")
    odd = {
        "a length of 4 GB": c.webp(image, length=2**32 - 1),
        "two pictures": c.webp(image, image),
        "alpha of nonsense": c.webp(c.vp8x(96, 64, 16), c.riff_chunk(b"ALPH", b"\x9c" * 50), image),
        "an EXIF block that points to itself": c.webp(
            c.vp8x(96, 64, 8), image, c.riff_chunk(b"EXIF", c.tiff(c.entry(0x8769, 4, 1, 8), following=8))
        ),
        "5,000 chunks of nobody": c.webp(c.vp8x(96, 64), *[c.riff_chunk(b"abcd", b"x")] * 5000, image),
        "an animation of 500 frames": c.webp(
            c.vp8x(96, 64, 2), c.riff_chunk(b"ANIM", bytes(6)), *[c.anmf(96, 64, image)] * 500
        ),
    }
    shown = {
        "a length of 0": c.webp(image, length=0),
        "a length that is too short": c.webp(image, length=20),
        "a length that is too long": c.webp(image, length=len(image) + 1000),
        "XMP that is cut": c.webp(c.vp8x(96, 64, 4), image, c.riff_chunk(b"XMP ", bytes(90)))[:-40],
        "EXIF of nonsense": c.webp(c.vp8x(96, 64, 8), image, c.riff_chunk(b"EXIF", b"nonsense")),
        "junk before it": bytes(range(128)) * 60 + good,
        "junk behind it": good + bytes(range(256)) * 60,
    }
    for name, payload in shown.items():
        yield Kind(f"WebP: {name}", payload, RESULT)
    for name, payload in odd.items():
        yield Kind(f"WebP: {name}", payload, f"corrupt_image {RESULT}")
    yield Kind("WebP: and a ZIP", good + b"PK\3\4" + bytes(100) + b"PK\5\6" + bytes(18), RESULT)
    canvas = c.webp(c.vp8x(8000, 8000, 2), c.riff_chunk(b"ANIM", bytes(6)), c.anmf(96, 64, image))
    yield Kind(
        "WebP: a small picture on as many pixels as are taken",
        canvas,
        f"{RESULT} decoder_timeout decoder_crashed",
        costly=True,
    )
