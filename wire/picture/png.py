"""A PNG rewritten with only the chunks that its pixels need."""

from __future__ import annotations

import struct
import zlib
from typing import Iterator, NamedTuple, Optional, Tuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Samples of a pixel by the header's colour type.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: Left, top, and distance across and down of the pixels of Adam7's seven passes.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
#: Zeros at the end of cut pixels that are none: what a buffer, or a page of flash, was filled up with.
_PADDING = 16
_PIECE = 1 << 12  # bytes of pixels unpacked at a time


class _Chunk(NamedTuple):
    name: bytes
    data: bytes
    #: Whether its checksum holds; None for one that the file ends within.
    holds: Optional[bool]


def has_end(payload: bytes) -> bool:
    """Whether the last chunk is there.

    Where it is missing, padding may have been taken for pixels: no other code looks at the checksums.
    """
    at = len(SIGNATURE)
    while at + 8 <= len(payload):
        length, name = struct.unpack_from(">I4s", payload, at)
        if name == b"IEND":
            return True
        at += 12 + length
    return False


def only_needed(payload: bytes, at_most: float) -> Optional[Tuple[bytes, bool]]:
    """The same pixels in a PNG without any chunk that they don't need.

    Args:
        payload: begins with the signature.
        at_most: the share of the rows that may be missing; they are filled by repeating the last one.

    Returns:
        The file, and whether all its rows were there. None if that would not help: a chunk that is needed
        is broken, or more is missing.
    """
    header, kept, pixels, cut = b"", [], [], False
    ended = has_end(payload)
    for chunk in _chunks(payload):
        if not header and chunk.name != b"IHDR":
            return None
        if chunk.name == b"IDAT":
            if chunk.holds is False and ended:
                return None
            cut = not chunk.holds
            pixels.append(_without_padding(chunk.data) if cut else chunk.data)
            if cut:
                break
        elif chunk.name in (b"IHDR", b"PLTE", b"IEND"):
            if not chunk.holds:
                return None
            header = header or (chunk.data if chunk.name == b"IHDR" else b"")
            if chunk.name == b"PLTE":
                kept.append(chunk)
        elif chunk.name in (b"tRNS", b"eXIf") and chunk.holds:
            kept.append(chunk)
    if len(header) != 13 or not pixels:
        return None
    unpacked = _fill(header, b"".join(pixels), cut, at_most)
    if unpacked is None:
        return None
    packed, whole = unpacked
    # An EXIF block may stand after the pixels, and is read from before them as well.
    chunks = [_chunk(b"IHDR", header), *(_chunk(c.name, c.data) for c in kept)]
    return SIGNATURE + b"".join([*chunks, _chunk(b"IDAT", packed), _chunk(b"IEND", b"")]), whole


def _without_padding(data: bytes) -> bytes:
    stripped = data.rstrip(b"\0")
    return stripped if len(data) - len(stripped) >= _PADDING else data


def _chunks(payload: bytes) -> Iterator[_Chunk]:
    at = len(SIGNATURE)
    while at + 8 <= len(payload):
        length, name = struct.unpack_from(">I4s", payload, at)
        data = payload[at + 8 : at + 8 + length]
        checksum = payload[at + 8 + length : at + 12 + length]
        holds = zlib.crc32(name + data) == int.from_bytes(checksum, "big") if len(checksum) == 4 else None
        yield _Chunk(name, data, holds)
        if name == b"IEND":
            return
        at += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _fill(header: bytes, packed: bytes, cut: bool, at_most: float) -> Optional[Tuple[bytes, bool]]:
    """The compressed pixels, filled up where rows are missing, and whether none was.

    Where the file is cut, what seems to be the end of the pixels may be something else.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in _SAMPLES or not width or not height:
        return None
    row = 1 + (width * depth * _SAMPLES[colour] + 7) // 8
    expected = _interlaced(width, height, depth * _SAMPLES[colour]) if interlaced else row * height
    found = 0
    try:
        for piece in _unpack(packed, cut):
            found += len(piece)
            if found >= expected:
                return packed, True
    except zlib.error:
        return None
    missing = height - found // row
    if interlaced or missing > at_most * height:
        return None
    again = zlib.compressobj(1)
    filled, left = [], (height - missing) * row
    for piece in _unpack(packed, cut):
        filled.append(again.compress(piece[:left]))
        left -= min(left, len(piece))
    repeated = b"\2" + bytes(row - 1)  # each byte is the one above it
    filled.extend(again.compress(repeated) for _ in range(missing))
    return b"".join([*filled, again.flush()]), False


def _unpack(packed: bytes, cut: bool) -> Iterator[bytes]:
    """Unpack piece by piece, so that what explodes costs nothing.

    Raises:
        zlib.error: the data is broken, although it is not cut.
    """
    unpacker = zlib.decompressobj()
    rest = packed
    while True:
        try:
            piece = unpacker.decompress(rest, _PIECE)
        except zlib.error:
            if cut:
                return
            raise
        rest = unpacker.unconsumed_tail
        if not piece:
            return
        yield piece


def _interlaced(width: int, height: int, bits: int) -> int:
    """Bytes of all rows of all passes."""
    total = 0
    for left, top, across, down in _PASSES:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
