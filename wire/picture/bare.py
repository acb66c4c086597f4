"""Whether a JPEG holds a picture and nothing else: no EXIF with a place and a time, no text, no second one.

What is not sure to be bare counts as not: it is then written anew, and nothing is left but pixels.
"""

from __future__ import annotations

import re

#: JPEG's tables and frames that stand before the first scan, by their markers.
_JPEG_PARTS = {0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD}
#: JFIF's and Adobe's, which say how the colours are meant; and how long each is without a thumbnail.
_JPEG_HEADS = {0xE0: 16, 0xEE: 14}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
#: In scans, whatever is no byte of a scan, table or end.
_NOT_OF_A_SCAN = re.compile(rb"\xff[^\x00\xc4\xd0-\xd7\xd9-\xdb\xdd]")


def is_bare(jpeg: bytes) -> bool:
    """Whether a file that begins as a JPEG is nothing but a picture."""
    at = 2
    while jpeg[at : at + 1] == b"\xff" and at + 4 <= len(jpeg):
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            ends = jpeg.find(_END_OF_IMAGE, at) == len(jpeg) - len(_END_OF_IMAGE)
            return ends and not _NOT_OF_A_SCAN.search(jpeg, at)
        if marker not in _JPEG_PARTS and _JPEG_HEADS.get(marker) != length:
            return False
        at += 2 + length
    return False
