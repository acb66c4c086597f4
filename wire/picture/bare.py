"""Whether a file holds a picture and nothing else: no EXIF with a place and a time, no text, no second one.

What is not sure to be bare counts as not: it is then written anew, and nothing is left but pixels.
"""

from __future__ import annotations

import re
from typing import Set

#: JPEG's tables and frames that stand before the first scan, by their markers.
_JPEG_PARTS = {0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD}
#: JFIF's and Adobe's, which say how the colours are meant; and how long each is without a thumbnail.
_JPEG_HEADS = {0xE0: 16, 0xEE: 14}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
#: In scans, whatever is no byte of a scan, table or end.
_NOT_OF_A_SCAN = re.compile(rb"\xff[^\x00\xc4\xd0-\xd7\xd9-\xdb\xdd]")
_PNG_PARTS: Set[bytes] = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND"),
    *(b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs"),
}
_PNG_BEGIN = 8


def is_bare(picture: bytes, kind: str) -> bool:
    """Whether a file of a kind, as `wire.picture.kinds` names it, is nothing but a picture."""
    if kind == "JPEG":
        return _is_bare_jpeg(picture)
    if kind == "PNG":
        return _is_bare_png(picture)
    # A WebP with more than its pixels begins with VP8X.
    length = int.from_bytes(picture[16:20], "little")
    return picture[12:16] in (b"VP8 ", b"VP8L") and len(picture) == 20 + length + length % 2


def _is_bare_jpeg(picture: bytes) -> bool:
    at = 2
    while picture[at : at + 1] == b"\xff" and at + 4 <= len(picture):
        marker, length = picture[at + 1], int.from_bytes(picture[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            ends = picture.find(_END_OF_IMAGE, at) == len(picture) - len(_END_OF_IMAGE)
            return ends and not _NOT_OF_A_SCAN.search(picture, at)
        if marker not in _JPEG_PARTS and _JPEG_HEADS.get(marker) != length:
            return False
        at += 2 + length
    return False


def _is_bare_png(picture: bytes) -> bool:
    at, kind = _PNG_BEGIN, b""
    while at + 12 <= len(picture) and kind != b"IEND":
        kind = picture[at + 4 : at + 8]
        if kind not in _PNG_PARTS:
            return False
        at += 12 + int.from_bytes(picture[at : at + 4], "big")
    return kind == b"IEND" and at == len(picture)
