"""Making a picture small enough for a broker. Needs Pillow, which the publisher does not bring.

The main of a decoder process, because a picture may be a stranger's; see `wire.decoder.process`:

    python -m wire.decoder.shrink FD MEMORY MAX_SIDE MAX_BYTES
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Sequence

from wire.decoder.process import Decode, Output, serve
from wire.picture.errors import Undecodable

if TYPE_CHECKING:
    from wire.picture.decoding import Picture

#: libjpeg scales with another filter than Pillow; times the pixels wanted that are left for Pillow's.
_GAP = 2.0
#: JPEG's quality; and of a picture that would have too many bytes with it.
_QUALITY, _LOWER_QUALITY = 90, 75


def main(arguments: Sequence[str]) -> None:
    """Shrink until stdin ends.

    Args:
        arguments: file descriptor of the shared memory, bytes of address space, pixels of the longer side,
            bytes of the picture.
    """
    memory_fd, address_space, max_side, max_bytes = map(int, arguments)
    serve(memory_fd, address_space, lambda: _prepare(max_side, max_bytes))


def _prepare(max_side: int, max_bytes: int) -> Decode:
    import wire.picture.decoding  # noqa: F401 - here, so that a missing Pillow is reported to the parent

    return lambda picture, region, memory: Output(_shrink(picture, max_side, max_bytes, memory))


def _shrink(content: bytes, max_side: int, max_bytes: int, memory: int) -> bytes:
    """A JPEG of at most `max_side` pixels a side, as the worker sees it: upright, in 8 bits, without EXIF.

    Nothing, if the picture already is that small, and has no more than `max_bytes`.

    Raises:
        Undecodable: it cannot be decoded, or a part of it is missing.
    """
    from wire.picture.decoding import decode_picture, size_of

    size = size_of(content)
    if size and max(size) <= max_side and len(content) <= max_bytes:
        return b""
    picture = decode_picture(
        content, reduce=lambda width, height: max(width, height) / (max_side * _GAP), memory=memory
    )
    longer = max(picture.width, picture.height)
    if longer <= max_side and len(content) <= max_bytes:
        return b""
    if not picture.complete:
        raise Undecodable("corrupt_image", "a part of it is missing")
    side = min(max_side, longer)
    small = _jpeg(picture, side, _QUALITY)
    while len(small) > max_bytes and side > 1:
        small = _jpeg(picture, side, _LOWER_QUALITY)
        side = side * 2 // 3
    return small


def _jpeg(picture: Picture, side: int, quality: int) -> bytes:
    ratio = side / max(picture.width, picture.height)
    sides = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    small = io.BytesIO()
    picture.image.resize(sides, 3, box=picture.box).save(small, "JPEG", quality=quality)  # bicubic
    return small.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
