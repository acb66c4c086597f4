"""JPEGs: broken, lying and slow ones, and odd ones that do show a picture."""

from __future__ import annotations

from typing import Iterator

from tests.faults.hostile import containers as c
from tests.faults.hostile.kind import RESULT, Kind


def jpegs(good: bytes) -> Iterator[Kind]:
    """JPEGs that are cut off, out of order, contradict themselves, or are odd."""
    parts = c.pieces(good)
    at = next(n for n, part in enumerate(parts) if part[:2] == b"\xff\xc0")
    start, rest = b"".join(parts[:at]), b"".join(parts[at + 1 :])
    tables = [part for part in parts if part[:2] not in (b"\xff\xc4", b"\xff\xdb")]
    scan = c.sos(0, 63, bytes(8))

    def header(width: int = 96, height: int = 64, **options: int) -> bytes:
        return start + c.sof(width, height, components=options.pop("components", 3), **options) + rest

    corrupt = {
        "start only": b"\xff\xd8\xff",
        "start and end": c.SOI + c.EOI,
        "no scan": c.grey_jpeg(8, 8),
        "cut off in its header": good[:100],
        "no frame header": start + rest,
        "no width": header(width=0),
        "no height": header(height=0),
        "12 bits a colour": header(precision=12),
        "2 bits a colour": header(precision=2),
        "5 components": header(components=5),
        "no component": header(components=0),
        "lossless": header(marker=0xC3),
        "hierarchical": header(marker=0xC5),
        "half of it, and an end marker": good[: len(good) * 6 // 10] + c.EOI,
        "half of it, in a page of flash": good[: len(good) * 6 // 10] + b"\xff" * 4096,
        "half of it, and the next one": good[: len(good) * 6 // 10] + good,
        "half of it, and zeros": good[: len(good) * 6 // 10] + bytes(10_000) + c.EOI,
        "a size that its bytes cannot hold": header(50_000, 50_000),
        "a scan whose header is cut": c.grey_jpeg(8, 8)[:-2] + b"\xff\xda\0\x08\1" + c.EOI,
        "a scan of no component": c.grey_jpeg(8, 8, c.segment(0xDA, b"\0\0\x3f\0")),
        "a segment longer than the file": good[:2] + b"\xff\xe1\xff\xff" + good[2:200],
        "sampling 0 by 15": start + c.segment(0xC0, b"\x08\0\x40\0\x60\1\1\x0f\0") + rest,
        "only markers": c.SOI + b"\xff\xd0" * 5000 + c.EOI,
        "only fill bytes": c.SOI + b"\xff" * 100_000 + c.EOI,
        "a Huffman table that overflows": c.grey_jpeg(8, 8, c.segment(0xC4, b"\0" + b"\xff" * 16), scan),
    }
    for name, payload in corrupt.items():
        yield Kind(f"JPEG: {name}", payload, "corrupt_image")
    loop = c.segment(0xE1, b"Exif\0\0" + c.tiff(c.entry(0x8769, 4, 1, 8), following=8))
    bomb = c.segment(0xE1, b"Exif\0\0" + c.tiff(*[c.entry(n, 5, 2**28, 8) for n in range(5000)]))
    odd = {
        "cut off in its pixels": good[: len(good) * 9 // 10],
        "no tables": b"".join(tables),
        "a segment of no length": good[:2] + b"\xff\xe1\0\0" + good[2:],
        "a segment of length 1": good[:2] + b"\xff\xe1\0\1" + good[2:],
        "arithmetic coding": header(marker=0xC9),
        "progressive, and coded as if not": header(marker=0xC2),
        "two components": header(components=2),
        "ends in zeros": good[: len(good) // 2] + bytes(10_000),
        "a restart at every block": start + c.segment(0xDD, b"\0\1") + b"".join(parts[at:]),
        "restarts without end": good[:-2] + b"\xff\xd3" * 5000 + c.EOI,
        "an EXIF block that points to itself": good[:2] + loop + good[2:],
        "an EXIF block of billions of values": good[:2] + bomb + good[2:],
        "EXIF says to turn it the 65535th way": good[:2] + _oriented(3, 65535) + good[2:],
        "EXIF says to turn it by a fraction": good[:2] + _oriented(5, 8) + good[2:],
        "an MPO without its second picture": good[:2] + _mpo() + good[2:],
        "a profile in 255 pieces, one there": good[:2]
        + c.segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(100))
        + good[2:],
        "a Photoshop block that lies": good[:2]
        + c.segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff")
        + good[2:],
        "an Adobe block that lies": good[:2] + c.segment(0xEE, b"Adobe\0\x64\0\0\0\0\xff") + good[2:],
        "5,000 comments": good[:2] + c.segment(0xFE, b"x") * 5000 + good[2:],
        "CMYK of nonsense": start + c.sof(96, 64, components=4) + rest,
    }
    for name, payload in odd.items():
        yield Kind(f"JPEG: {name}", payload, f"corrupt_image {RESULT}")
    yield from _broken_where_nobody_needs_it(good)
    yield Kind("JPEG: and a ZIP", good + b"PK\3\4" + bytes(100) + b"PK\5\6" + bytes(18), RESULT)
    script = c.segment(0xFE, b"*/=1;alert(1);/*<script>alert(1)</script><?php system('id'); ?>")
    yield Kind("JPEG: and a script", good[:2] + script + good[2:], RESULT)


def _broken_where_nobody_needs_it(good: bytes) -> Iterator[Kind]:
    rest = good[2:]
    shown = {
        "no end marker": good[:-2],
        "half an end marker": good[:-1],
        "zeros instead of an end": good[:-2] + bytes(10_000),
        "fill bytes instead of an end": good[:-2] + b"\xff" * 10_000,
        "junk before it": bytes(range(128)) * 60 + good,
        "junk behind its start": c.SOI + bytes(5000) + rest,
        "fill bytes behind its start": c.SOI + b"\xff" * 100_000 + rest[1:],
        "2,000 starts": c.SOI * 2000 + rest,
        "2,000 pictures within": c.SOI + c.segment(0xFE, b"x") + (c.SOI + c.EOI) * 2000 + rest,
        "a block without its end": c.SOI + c.segment(0xEE, b"Adobe") + c.segment(0xE0, b"JF") + rest,
        "a Photoshop block of nothing": c.SOI + c.segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0") + rest,
    }
    for name, payload in shown.items():
        yield Kind(f"JPEG: {name}", payload, RESULT)


def _oriented(kind: int, value: int) -> bytes:
    return c.segment(0xE1, b"Exif\0\0" + c.tiff(c.entry(0x0112, kind, 1, value)))


def _mpo() -> bytes:
    pictures = c.entry(0xB002, 7, 32, 50)
    return c.segment(0xE2, b"MPF\0" + c.tiff(c.entry(0xB001, 4, 1, 2), pictures, more=b"\xff" * 32))


def jpeg_bombs() -> Iterator[Kind]:
    """JPEGs that are small, and slow or large once opened."""
    yield Kind("JPEG: 65535 x 65535", c.grey_jpeg(65535, 65535, c.sos(0, 63, bytes(8))), "image_too_large")
    yield Kind(
        "JPEG: more pixels than its bytes can hold",
        c.grey_jpeg(60_000, 60_000, c.sos(0, 63, bytes(8))),
        "corrupt_image",
    )
    yield Kind(
        "JPEG: 100 megapixels of one colour",
        c.grey_jpeg(10_000, 10_000, c.sos(0, 63, bytes(c.blocks(10_000, 10_000) // 4 + 1))),
        f"{RESULT} decoder_timeout",
        costly=True,
    )
    yield Kind(
        "JPEG: 3,600 megapixels in several scans",
        c.grey_jpeg(60_000, 60_000, c.sos(0, 0, bytes(99)), c.sos(1, 63, bytes(99)), marker=0xC2),
        "image_too_large",
    )
    stops = b"\xff" * 50_000 + b"\0"
    yield Kind("JPEG: fill bytes that end in nothing", c.SOI + stops * 10 + c.EOI, "corrupt_image")
    yield Kind("JPEG: starts without end", c.SOI * 200_000, "corrupt_image")
    dc = c.sos(0, 0, bytes(c.blocks(8000, 8000) // 8 + 1))
    ac = c.sos(1, 63, c.empty_blocks(c.blocks(8000, 8000)))
    slow = f"{RESULT} decoder_timeout"
    for count in (1, 2000):
        yield Kind(
            f"JPEG: as many pixels as are taken, in {count + 1} scans",
            c.grey_jpeg(8000, 8000, dc, *[ac] * count, marker=0xC2),
            slow if count == 1 else "decoder_timeout",
            costly=True,
        )
    small = [c.sos(0, 0, bytes(99)), *[c.sos(1, 63, c.empty_blocks(96))] * 5000]
    yield Kind("JPEG: a small one in 5,001 scans", c.grey_jpeg(96, 64, *small, marker=0xC2), slow)
    yield Kind(
        "JPEG: a line of 65,500 pixels",
        c.grey_jpeg(65500, 1, c.sos(0, 63, bytes(9000))),
        f"{RESULT} corrupt_image",
    )
    yield Kind(
        "JPEG: a large one without its pixels",
        c.grey_jpeg(8000, 8000, c.sos(0, 63, b"")),
        "corrupt_image",
    )
