"""The frames that every way classifies: scikit-image's photos, as cameras of three kinds would send them."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Tuple

#: Width and height in pixels.
SIZES: Dict[str, Tuple[int, int]] = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
PHOTOS = ("coffee.png", "rocket.jpg", "chelsea.png", "motorcycle_left.png", "astronaut.png")
QUALITY = 85
#: A picture so small that decoding it costs next to nothing: what is left is the transport.
THUMBNAIL = (64, 64)


@lru_cache(maxsize=None)
def jpegs(size: str) -> List[bytes]:
    """The photos as JPEG: of one of `SIZES`, or `thumbnail`."""
    return [_encode(name, SIZES.get(size, THUMBNAIL)) for name in PHOTOS]


@lru_cache(maxsize=None)
def padded(size: str, payload: int) -> List[bytes]:
    """The same with zeros after the JPEG's end, up to a payload of so many bytes; decoders skip them."""
    return [jpeg + bytes(max(0, payload - len(jpeg))) for jpeg in jpegs(size)]


def _encode(name: str, size: Tuple[int, int]) -> bytes:
    import skimage  # carries the photos; nothing else of it is used
    from PIL import Image

    with Image.open(Path(skimage.__file__).parent / "data" / name) as photo:
        encoded = io.BytesIO()
        photo.convert("RGB").resize(size).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
