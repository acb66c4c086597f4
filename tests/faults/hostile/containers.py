"""What the three formats are made of: files put together from pieces by hand, and taken apart into them.

PNG    a signature, then chunks: length, name, data, CRC
JPEG   segments: marker, length, data; the one of a scan is followed by its entropy-coded bytes
WebP   RIFF and a length, then chunks: name, length, data, padded to an even length
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import List, Optional

PNG = b"\x89PNG\r\n\x1a\n"
SOI, EOI = b"\xff\xd8", b"\xff\xd9"
#: Markers of JPEG that stand alone: restarts, start, end, TEM.
_ALONE = {*range(0xD0, 0xDA), 0x01}


def pieces(payload: bytes) -> List[bytes]:
    """The pieces of a well-formed file; joined, they are the file again."""
    if payload.startswith(PNG):
        return _chunks(payload, len(PNG), 0, ">I4x", 4)
    if payload.startswith(b"RIFF"):
        return _chunks(payload, 12, 0, "<4xI", 0)
    return _segments(payload)


def _chunks(payload: bytes, at: int, least: int, header: str, trailer: int) -> List[bytes]:
    found = [payload[:at]]
    while at < len(payload):
        (length,) = struct.unpack_from(header, payload, at)
        end = at + 8 + length + trailer
        end += (length & 1) if header.startswith("<") else 0
        found.append(payload[at:end])
        at = end
    return found


def _segments(payload: bytes) -> List[bytes]:
    found, at = [], 0
    while at < len(payload):
        length = 0 if payload[at + 1] in _ALONE else int.from_bytes(payload[at + 2 : at + 4], "big")
        end = at + 2 + length
        if payload[at + 1] == 0xDA:
            following = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(payload, end)
            end = following.start() if following else len(payload)
        found.append(payload[at:end])
        at = end
    return found


# --- PNG --------------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes = b"", crc: Optional[int] = None) -> bytes:
    """A PNG chunk, with the right CRC unless another is given."""
    right = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", right if crc is None else crc)


def ihdr(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """The header of a PNG; colour 0 is grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def idat(raw: bytes, level: int = 9) -> bytes:
    """The pixels of a PNG: rows, each after a byte for its filter."""
    return chunk(b"IDAT", zlib.compress(raw, level))


def png(*chunks: bytes) -> bytes:
    """A PNG of these chunks and the end."""
    return PNG + b"".join(chunks) + chunk(b"IEND")


def tiny_png(*more: bytes) -> bytes:
    """8 x 8 grey pixels, with other chunks between header and pixels."""
    return png(ihdr(8, 8, colour=0), *more, idat(bytes(9 * 8)))


# --- JPEG -------------------------------------------------------------------------------------------------


def segment(marker: int, data: bytes = b"") -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def sof(width: int, height: int, *, marker: int = 0xC0, precision: int = 8, components: int = 1) -> bytes:
    """A frame header; marker C0 is baseline, C2 progressive."""
    each = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return segment(marker, struct.pack(">BHHB", precision, height, width, components) + each)


def dht(kind: int, *symbols: int) -> bytes:
    """A Huffman table (0x00 for DC, 0x10 for AC) that gives symbols the codes 0, 10, 110 and so on."""
    counts = [1] * len(symbols) + [0] * (16 - len(symbols))
    return segment(0xC4, bytes([kind, *counts, *symbols]))


def sos(start: int, end: int, entropy: bytes, components: int = 1) -> bytes:
    """A scan of the coefficients from start to end."""
    each = b"".join(bytes([number + 1, 0]) for number in range(components))
    return segment(0xDA, bytes([components]) + each + bytes([start, end, 0])) + entropy


QUANTA = segment(0xDB, bytes([0]) + bytes([1] * 64))
APP0 = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def grey_jpeg(width: int, height: int, *scans: bytes, marker: int = 0xC0) -> bytes:
    """A grey JPEG with the codes 0 (nothing) and 10 (a run of 16384 to 32767 empty blocks)."""
    tables = QUANTA + dht(0x00, 0) + dht(0x10, 0x00, 0xE0)
    return SOI + APP0 + tables + sof(width, height, marker=marker) + b"".join(scans) + EOI


def blocks(width: int, height: int) -> int:
    """Blocks of 8 x 8 pixels in a grey JPEG."""
    return -(-width // 8) * -(-height // 8)


def empty_blocks(count: int) -> bytes:
    """Entropy-coded bytes for so many blocks of a progressive scan: each run is 10 and 14 bits of length."""
    bits = ""
    while count >= 1 << 14:
        run = min(count, (1 << 15) - 1)
        bits += "10" + format(run - (1 << 14), "014b")
        count -= run
    bits += "0" * count
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


# --- WebP -------------------------------------------------------------------------------------------------


def riff_chunk(name: bytes, data: bytes) -> bytes:
    """A RIFF chunk."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) & 1)


def webp(*chunks: bytes, length: Optional[int] = None) -> bytes:
    """A WebP of these chunks, with the right length unless another is given."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def vp8x(width: int, height: int, flags: int = 0) -> bytes:
    """The header of an extended WebP; flag 2 is animation, 16 alpha, 8 EXIF, 32 a colour profile."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)


def anmf(width: int, height: int, image: bytes) -> bytes:
    """One picture of an animated WebP, at its upper left corner."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_chunk(b"ANMF", bytes(6) + size + b"\x0a\0\0\0" + image)


# --- EXIF -------------------------------------------------------------------------------------------------


def tiff(*entries: bytes, following: int = 0, more: bytes = b"") -> bytes:
    """An EXIF block: a TIFF header and one directory."""
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    return b"II*\0\x08\0\0\0" + directory + more


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    """An entry of a directory; type 3 is a 16 bit number, 4 a 32 bit one, 5 a fraction, 7 bytes."""
    return struct.pack("<HHII", tag, kind, count, value & 0xFFFFFFFF)
