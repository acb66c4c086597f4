"""What bytes are: an image that can be decoded, or what else they look like."""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Optional

#: Bytes before an image that are looked through for its begin, such as headers that a sender left there.
MOST_JUNK = 8192
#: Enough of a file to recognise it.
HEAD = MOST_JUNK + 64

_BEGIN = re.compile(
    rb"\xff\xd8\xff[\xc0-\xc2\xc4\xdb\xdd\xe0-\xef\xfe]|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL
)
_SEGMENT = re.compile(rb"\xff[\xc0-\xc2\xc4\xdb\xdd\xe0-\xef\xfe]")
_NAMES = {b"\xff": "JPEG", b"\x89": "PNG", b"R": "WEBP"}
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
#: Files that may hold a picture's bytes and are something else all the same.
_OTHERS: Dict[bytes, str] = {
    b"GIF8": "a GIF",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"II+\0": "a TIFF",
    b"%PDF": "a PDF",
    b"PK\3\4": "a ZIP",
    b"ID3\3": "an MP3",
    b"ID3\4": "an MP3",
    b"fLaC": "a FLAC",
    b"OggS": "an Ogg",
    b"8BPS": "a Photoshop file",
    b"\x1aE\xdf\xa3": "a Matroska video",
    b"\0\5\x16\7": "macOS's metadata of a file (AppleDouble)",
    b"\0\0\1\0": "an icon",
}


class Found(NamedTuple):
    """An image among bytes."""

    #: Pillow's name of the format: JPEG, PNG or WEBP.
    kind: str
    #: Where it begins.
    at: int


def find(payload: bytes) -> Optional[Found]:
    """The image that bytes are, or that begins within the first MOST_JUNK of them."""
    if payload.startswith(_JPEG):
        return Found("JPEG", 0)
    if payload.startswith(_PNG):
        return Found("PNG", 0)
    if payload.startswith(b"RIFF") and payload[8:12] == b"WEBP":
        return Found("WEBP", 0)
    if other(payload):
        return None
    if payload.startswith(b"\xff\xd8") and _SEGMENT.search(payload, 2, HEAD):
        return Found("JPEG", 0)
    begin = _BEGIN.search(payload, 0, HEAD)
    return Found(_NAMES[begin.group()[:1]], begin.start()) if begin else None


def other(payload: bytes) -> str:
    """The name of a file that is none of ours, with an article; empty if it has no known begin."""
    if payload[:4] in _OTHERS:
        return _OTHERS[payload[:4]]
    if payload[4:8] == b"ftyp":
        brand = payload[8:12]
        if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
            return "an HEIC"
        return "an AVIF" if brand in (b"avif", b"avis") else "an MP4"
    if payload[:2] == b"BM" and payload[6:10] == bytes(4):
        return "a BMP"
    if payload[:4] == b"RIFF" and payload[8:12] != b"WEBP":
        return "an AVI" if payload[8:12] == b"AVI " else "a RIFF file"
    return ""


def look(payload: bytes) -> str:
    """What the first bytes look like, for an error message."""
    known = other(payload)
    if known:
        return known
    begin = payload[:64]
    if all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in begin):
        return "text"
    return "begins with the bytes " + " ".join(f"{byte:02x}" for byte in begin[:8])
