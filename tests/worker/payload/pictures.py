"""Payloads that hold a picture, in the forms in which senders write one."""

from __future__ import annotations

import base64
from typing import Any, Dict

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 5 + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WEBP = b"RIFF\x10\1\0\0WEBPVP8 " + bytes(range(256))
TEXT = base64.b64encode(JPEG).decode()
URI = f"data:image/jpeg;base64,{TEXT}"
BUFFER: Dict[str, Any] = {"type": "Buffer", "data": list(JPEG)}
TYPED_ARRAY = {str(index): byte for index, byte in enumerate(JPEG)}
JAVA = [byte - 256 if byte > 127 else byte for byte in JPEG]
OURS = {"image": TEXT, "frame_id": "f1"}


def part(headers: str, body: bytes, line: str = "\r\n") -> bytes:
    return f"--frame{line}{headers}{line}{line}".encode() + body + line.encode()
