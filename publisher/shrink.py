"""Making a picture small enough for a broker. Needs Pillow, which the publisher does not bring.

The main of a decoder process, because a picture may be a stranger's; see `wire.decoder.process`:

    python -m publisher.shrink FD MEMORY MAX_SIDE
"""

from __future__ import annotations

import io
import sys
from typing import Sequence

from wire.decoder.process import Decode, Output, serve
from wire.picture.errors import Undecodable

#: libjpeg scales with another filter than Pillow; times the pixels wanted that are left for Pillow's.
_GAP = 2.0


def main(arguments: Sequence[str]) -> None:
    """Shrink until stdin ends.

    Args:
        arguments: file descriptor of the shared memory, bytes of address space, pixels of the longer side.
    """
    memory_fd, address_space, max_side = map(int, arguments)
    serve(memory_fd, address_space, lambda: _prepare(max_side))


def _prepare(max_side: int) -> Decode:
    import wire.picture.decoding  # noqa: F401 - here, so that a missing Pillow is reported to the parent

    return lambda picture, region, memory: Output(_shrink(picture, max_side, memory))


def _shrink(content: bytes, max_side: int, memory: int) -> bytes:
    """A JPEG of at most `max_side` pixels a side, as the worker sees it: upright, in 8 bits, without EXIF.

    Nothing, if the picture already is that small.

    Raises:
        Undecodable: it cannot be decoded, or a part of it is missing.
    """
    from wire.picture.decoding import decode_picture, size_of

    size = size_of(content)
    if size and max(size) <= max_side:
        return b""
    picture = decode_picture(
        content, reduce=lambda width, height: max(width, height) / (max_side * _GAP), memory=memory
    )
    if max(picture.width, picture.height) <= max_side:
        return b""
    if not picture.complete:
        raise Undecodable("corrupt_image", "a part of it is missing")
    ratio = max_side / max(picture.width, picture.height)
    sides = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    small = io.BytesIO()
    picture.image.resize(sides, 3, box=picture.box).save(small, "JPEG", quality=90)  # bicubic
    return small.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
