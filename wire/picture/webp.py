"""A WebP rewritten with only the chunks that its pixels need."""

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

_NEEDED = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"EXIF"})
#: Of the flags in an extended header: a colour profile, EXIF, XMP.
_PROFILE, _EXIF, _XMP = 0x20, 0x08, 0x04


def only_needed(payload: bytes) -> Optional[bytes]:
    """The same pixels in a WebP without any chunk that they don't need, and with the right length.

    Returns:
        None if that would not help: a chunk that is needed is cut off, or there is none. Of an animation,
        only the first picture is needed.
    """
    kept: List[Tuple[bytes, bytes]] = []
    extended = b""
    for name, data in _chunks(payload):
        if data is None:
            later = name == b"ANMF" and any(each == name for each, _ in kept)
            if name in _NEEDED - {b"EXIF"} and not later:
                return None
            break
        if name == b"VP8X" and not extended:
            extended = data
        elif name in _NEEDED:
            kept.append((name, data))
    names = [name for name, _ in kept]
    if not {b"VP8 ", b"VP8L", b"ANMF"} & set(names):
        return None
    if len(extended) >= 10:
        flags = extended[0] & ~(_PROFILE | _XMP | _EXIF) | (_EXIF if b"EXIF" in names else 0)
        kept.insert(0, (b"VP8X", bytes([flags]) + extended[1:10]))
    body = b"WEBP" + b"".join(_chunk(name, data) for name, data in kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(payload: bytes) -> Iterator[Tuple[bytes, Optional[bytes]]]:
    """Name and data of each chunk, whatever the file's length says; None for data that is cut off."""
    at = 12
    while at + 8 <= len(payload):
        name, length = struct.unpack_from("<4sI", payload, at)
        end = at + 8 + length
        yield name, payload[at + 8 : end] if end <= len(payload) else None
        at = end + (length & 1)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) & 1)
