"""PNGs: broken, lying and exploding ones, and odd ones that do show a picture."""

from __future__ import annotations

import struct
import zlib
from typing import Iterator

from tests.faults.hostile import containers as c
from tests.faults.hostile.kind import MAX_PIXELS, RESULT, Kind


def pngs(good: bytes) -> Iterator[Kind]:
    """PNGs that are cut off, out of order, contradict themselves, or are odd."""
    header, *middle, end = c.pieces(good)[1:]
    pixels = b"".join(middle)
    wrong_crc = bytearray(good)
    wrong_crc[29] ^= 1
    corrupt = {
        "signature only": c.PNG,
        "header only": c.PNG + header,
        "no pixels": c.png(header),
        "cut off in its pixels": good[: len(good) // 2],
        "cut off in its header": good[:20],
        "wrong CRC in the header": bytes(wrong_crc),
        "wrong CRC in the pixels": c.png(header, c.chunk(b"IDAT", zlib.compress(bytes(100)), crc=1)),
        "pixels before the header": c.PNG + pixels + header + end,
        "no header": c.png(pixels),
        "no width": c.png(c.ihdr(0, 8), c.idat(b"")),
        "no height": c.png(c.ihdr(8, 0), c.idat(b"")),
        "impossible depth": c.png(c.ihdr(8, 8, depth=3), c.idat(bytes(8 * 25))),
        "impossible colour": c.png(c.ihdr(8, 8, colour=5), c.idat(bytes(8 * 25))),
        "a header of 4 bytes": c.PNG + c.chunk(b"IHDR", bytes(4)) + pixels + end,
        "a chunk of 4 GB": c.PNG + header + b"\xff\xff\xff\xffIDAT" + bytes(100),
        "a chunk of 2 GB that may be skipped": c.PNG + header + b"\x7f\xff\xff\xffabCd" + bytes(100),
        "pixels that are not compressed": c.png(c.ihdr(8, 8), c.chunk(b"IDAT", bytes(200))),
        "too few pixels": c.png(c.ihdr(8, 8), c.idat(bytes(8))),
        "a filter that does not exist": c.png(c.ihdr(8, 8, colour=0), c.idat(b"\xff" * 72)),
    }
    for name, payload in corrupt.items():
        yield Kind(f"PNG: {name}", payload, "corrupt_image")
    loop = c.tiff(c.entry(0x8769, 4, 1, 8), following=8)
    odd = {
        "a palette of 1 byte": c.png(c.ihdr(8, 8, colour=3), c.chunk(b"PLTE", b"x"), c.idat(bytes(72))),
        "no palette": c.png(c.ihdr(8, 8, colour=3), c.idat(bytes(72))),
        "colours beyond the palette": c.png(
            c.ihdr(8, 8, colour=3), c.chunk(b"PLTE", b"abc"), c.idat(b"\0" + b"\xff" * 8)
        ),
        "two headers": c.png(header, c.ihdr(8, 8), pixels),
        "an EXIF block that points to itself": c.tiny_png(c.chunk(b"eXIf", loop)),
        "an EXIF block of nonsense": c.tiny_png(c.chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + bytes(200))),
        "gamma, colours and density of the wrong length": c.tiny_png(
            c.chunk(b"gAMA"), c.chunk(b"cHRM", b"1"), c.chunk(b"pHYs", b"12"), c.chunk(b"sRGB")
        ),
        "transparency of the wrong length": c.tiny_png(c.chunk(b"tRNS", bytes(1000))),
        "a profile that is not compressed": c.tiny_png(c.chunk(b"iCCP", b"name\0\0" + bytes(100))),
        "an animation of no frames": c.tiny_png(c.chunk(b"acTL", struct.pack(">II", 0, 0))),
        "an animation of 4 billion frames": c.tiny_png(c.chunk(b"acTL", b"\xff" * 8)),
        "a frame outside its picture": c.tiny_png(
            c.chunk(b"acTL", struct.pack(">II", 2, 0)),
            c.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9999, 9999, 9999, 9999, 0, 0, 9, 9)),
        ),
    }
    for name, payload in odd.items():
        yield Kind(f"PNG: {name}", payload, f"corrupt_image {RESULT}")
    wrong = c.chunk(b"tEXt", b"Software\0x", crc=1)
    shown = {
        "a chunk without a name": c.PNG + header + c.chunk(b"\0\0\0\0") + pixels + end,
        "no end": good[:-12],
        "no checksum of its pixels": good[:-14],
        "junk before it": bytes(range(128)) * 60 + good,
        "junk behind it": good + bytes(range(256)) * 60,
        "a wrong CRC where nobody needs it": c.png(header, wrong, pixels),
        "5,000 of them": c.png(header, wrong * 5000, pixels),
        "a wrong CRC behind its pixels": c.png(header, pixels, wrong),
        "a broken text, and its last row is gone": c.png(c.ihdr(8, 8, colour=0), wrong, c.idat(bytes(9 * 7))),
    }
    for name, payload in shown.items():
        yield Kind(f"PNG: {name}", payload, RESULT)
    yield Kind("PNG: and a ZIP", good + b"PK\3\4" + bytes(100) + b"PK\5\6" + bytes(18), RESULT)


def png_bombs() -> Iterator[Kind]:
    """PNGs that are small, and large once opened."""
    zeros = zlib.compress(bytes(50_000_000), 9)
    # Limits end these: 16 MB for a text or a profile, 64 MB for all.
    yield Kind("PNG: zTXt that explodes", c.tiny_png(c.chunk(b"zTXt", b"k\0\0" + zeros)), RESULT)
    yield Kind(
        "PNG: iTXt that explodes",
        c.tiny_png(c.chunk(b"iTXt", b"k\0\1\0\0\0" + zeros)),
        RESULT,
    )
    yield Kind("PNG: iCCP that explodes", c.tiny_png(c.chunk(b"iCCP", b"k\0\0" + zeros)), RESULT)
    text = c.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))
    yield Kind("PNG: a hundred texts of 1 MB", c.tiny_png(*[text] * 100), RESULT)
    yield Kind("PNG: 50,000 texts", c.tiny_png(*[c.chunk(b"tEXt", b"k\0v")] * 50_000), RESULT, costly=True)
    yield Kind("PNG: 50,000 pieces of pixels", _in_pieces(50_000), RESULT, costly=True)
    yield Kind("PNG: pixels that explode", c.png(c.ihdr(8, 8, colour=0), c.chunk(b"IDAT", zeros)), RESULT)
    frame = c.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 9, 0, 0))
    moving = [frame + c.chunk(b"fdAT", bytes(4) + zlib.compress(bytes(72)))] * 5000
    yield Kind(
        "PNG: an animation of 5,000 frames",
        c.png(
            c.ihdr(8, 8, colour=0),
            c.chunk(b"acTL", struct.pack(">II", 5000, 0)),
            c.idat(bytes(72)),
            *moving,
        ),
        RESULT,
    )
    for name, width, height in (
        ("65535 x 65535", 65535, 65535),
        ("2147483647 pixels each way", 2**31 - 1, 2**31 - 1),
        ("4294967295 pixels each way", 2**32 - 1, 2**32 - 1),
        ("one pixel column too many", MAX_PIXELS // 8000 + 1, 8000),
    ):
        yield Kind(f"PNG: {name}", c.png(c.ihdr(width, height), c.idat(b"")), "image_too_large corrupt_image")
    slow = f"{RESULT} decoder_timeout decoder_crashed"
    large = {
        "as many pixels as are taken": c.png(c.ihdr(8000, 8000, 1, 0), c.idat(bytes(1001 * 8000))),
        "as many, interlaced": c.png(c.ihdr(8000, 8000, 1, 0, 1), c.idat(_interlaced(8000, 8000))),
        "as many, with alpha": c.png(c.ihdr(8000, 8000, 8, 4), c.idat(bytes(16001 * 8000), 1)),
        "a line of 64 million pixels": c.png(c.ihdr(MAX_PIXELS, 1, 1, 0), c.idat(bytes(8_000_001))),
        "a column of 64 million pixels": c.png(c.ihdr(1, MAX_PIXELS, 1, 0), c.idat(bytes(2 * MAX_PIXELS), 1)),
    }
    for name, payload in large.items():
        yield Kind(f"PNG: {name}", payload, slow, costly=True)


def _in_pieces(count: int) -> bytes:
    """A PNG whose pixels come in chunks of one byte and of none."""
    data = zlib.compress(bytes(72))
    parts = [c.chunk(b"IDAT", data[n : n + 1]) for n in range(len(data))]
    return c.png(c.ihdr(8, 8, colour=0), *parts[:-1], *[c.chunk(b"IDAT")] * count, parts[-1])


def _interlaced(width: int, height: int) -> bytes:
    """Black 1-bit rows of all seven passes of Adam7."""
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns // 8))
    return bytes(total)
