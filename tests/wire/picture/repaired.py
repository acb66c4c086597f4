"""Encoded pictures to be broken, and whether the same pixels come of them all the same."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from wire.picture.decoding import Picture, decode_picture
from wire.picture.errors import Undecodable

ORIENTATION = 0x0112
JUNK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + bytes(range(200)) * 20


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **{"lossless": True, "method": 0, **options})
    return buffer.getvalue()


def lying() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif.tobytes()


def same(picture: Picture, payload: bytes) -> bool:
    expected = decode_picture(payload)
    return picture._replace(image=0) == expected._replace(image=0) and (  # type: ignore[arg-type]
        picture.image.tobytes() == expected.image.tobytes()
    )


def reason(payload: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_picture(payload)
    return caught.value.reason
