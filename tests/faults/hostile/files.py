"""Other formats, texts, programs and archives, sent to a topic for pictures."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from typing import Iterator

from PIL import Image

from tests.faults.hostile.kind import MAX_PAYLOAD, Kind


def other_formats() -> Iterator[Kind]:
    """What else is sent to a topic for pictures: other formats, texts, programs, archives."""
    yield Kind("empty", b"", "empty")
    yield Kind("too many bytes", bytes(MAX_PAYLOAD + 1), "payload_too_large")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.txt", bytes(1000))
    begin = {
        "one byte": b"\xff",
        "a thousand zeros": bytes(1000),
        "a million zeros": bytes(1_000_000),
        "noise": random.Random(1).getrandbits(80_000).to_bytes(10_000, "big"),
        "GIF": _saved("GIF"),
        "TIFF, little endian": _saved("TIFF"),
        "TIFF, big endian": b"MM\0*\0\0\0\x08" + bytes(100),
        "BMP": _saved("BMP"),
        "ICO": _saved("ICO"),
        "TGA": _saved("TGA"),
        "PPM": _saved("PPM"),
        "PCX": _saved("PCX"),
        "DDS": _saved("DDS"),
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) (r) file\n",
        "PSD": b"8BPS\0\1" + bytes(100),
        "HEIC": b"\0\0\0\x18ftypheic" + bytes(100),
        "AVIF": b"\0\0\0\x1cftypavif" + bytes(100),
        "MP4": b"\0\0\0\x20ftypisom" + bytes(100),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
        "JPEG XL": b"\xff\x0a" + bytes(100),
        "WAV, a RIFF too": b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "XML that expands": b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
        "HTML": b"<!doctype html><title>401 Unauthorized</title>",
        "HTTP": b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n",
        "ZIP": archive.getvalue(),
        "gzip": gzip.compress(bytes(1000)),
        "ELF": b"\x7fELF\2\1\1" + bytes(100),
        "PE": b"MZ\x90\0" + bytes(100),
        "Python pickle": b"\x80\4\x8c\5posix\x8c\6system\x93\x8c\2id\x85R.",
        "escape sequences": b"\x1b]0;owned\x07\x1b[2J\x1b[31mred",
        "UTF-16 text": "hello".encode("utf-16"),
        "format strings": b"%s%n%x {0.__class__} ${jndi:ldap://x/}",
        "a path": b"../../../../etc/passwd\0.jpg",
    }
    for name, payload in begin.items():
        yield Kind(name, payload, "not_an_image")


def _saved(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 100, 50)).save(buffer, kind)
    return buffer.getvalue()
