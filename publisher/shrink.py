"""Making an image small enough for a broker. Needs Pillow, which the publisher does not bring."""

from __future__ import annotations

import io
from typing import NamedTuple

from wire.errors import SettingsError
from wire.install import how_to_install
from wire.picture.errors import Undecodable

#: libjpeg scales with another filter than Pillow; times the pixels wanted that are left for Pillow's.
_GAP = 2.0


class Shrunk(NamedTuple):
    """An image to send."""

    content: bytes
    #: Why it is the same bytes although it is too large, if so.
    kept: str = ""


def check_pillow() -> None:
    """See to it that images can be shrunk, before any of them is.

    Raises:
        SettingsError: Pillow is missing.
    """
    try:
        import wire.picture.decoding  # noqa: F401
    except ModuleNotFoundError:
        raise SettingsError(f"--max-side needs Pillow: {how_to_install('camera')}") from None


def shrink(content: bytes, max_side: int) -> Shrunk:
    """A JPEG of at most `max_side` pixels a side, as the worker sees it: upright, in 8 bits, without EXIF.

    The same bytes stay if the image already is that small; if it cannot be decoded, because the worker's
    rejection says what is wrong with it; and if a part of it is missing, because the worker's answer says so.
    """
    from wire.picture.decoding import decode_picture, size_of

    size = size_of(content)
    if size and max(size) <= max_side:
        return Shrunk(content)
    try:
        picture = decode_picture(content, reduce=lambda width, height: max(width, height) / (max_side * _GAP))
    except Undecodable as error:
        return Shrunk(content, error.detail)
    if max(picture.width, picture.height) <= max_side:
        return Shrunk(content)
    if not picture.complete:
        return Shrunk(content, "a part of it is missing")
    ratio = max_side / max(picture.width, picture.height)
    sides = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    small = io.BytesIO()
    picture.image.resize(sides, 3, box=picture.box).save(small, "JPEG", quality=90)  # bicubic
    return Shrunk(small.getvalue())
