"""Making a picture small enough for a broker. Needs Pillow, which the publisher does not bring.

The main of a decoder process, because a picture may be a stranger's; see `wire.decoder.process`:

    python -m wire.decoder.shrink FD MEMORY MAX_SIDE MAX_BYTES keep|always
"""

from __future__ import annotations

import functools
import io
import math
import sys
from typing import TYPE_CHECKING, Sequence, Tuple

from wire.decoder.process import Decode, Output, serve
from wire.picture.errors import Undecodable
from wire.picture.region import WHOLE, Region

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
            bytes of the picture, what becomes of one that is small already.
    """
    memory_fd, address_space, max_side, max_bytes = map(int, arguments[:4])
    keep = arguments[4] == "keep"
    serve(memory_fd, address_space, lambda: _prepare(max_side, max_bytes, keep))


def _prepare(max_side: int, max_bytes: int, keep: bool) -> Decode:
    import wire.picture.decoding  # noqa: F401 - here, so that a missing Pillow is reported to the parent

    shrink = functools.partial(_shrink, max_side, max_bytes, keep)
    return lambda picture, region, memory: Output(shrink(picture, region, memory))


def _shrink(max_side: int, max_bytes: int, keep: bool, content: bytes, region: Region, memory: int) -> bytes:
    """A JPEG of at most `max_side` pixels a side, as the worker sees it: upright, in 8 bits, without EXIF.

    Nothing, if the whole picture is wanted, already is that small and has no more than `max_bytes`, and may
    be kept.

    Raises:
        Undecodable: it cannot be decoded, or a part of it is missing.
    """
    from wire.picture.decoding import decode_picture, size_of

    keep = keep and region == WHOLE and len(content) <= max_bytes
    size = size_of(content) if keep else None
    if size and max(size) <= max_side:
        return b""
    left, top, right, bottom = region

    def reduce(width: int, height: int) -> float:
        return max(width * (right - left), height * (bottom - top)) / (max_side * _GAP)

    picture = _cut(decode_picture(content, reduce=reduce, memory=memory), region)
    longer = max(picture.width, picture.height)
    if keep and longer <= max_side:
        return b""
    if not picture.complete:
        raise Undecodable("corrupt_image", "a part of it is missing")
    side = min(max_side, longer)
    small = _jpeg(picture, side, _QUALITY)
    while len(small) > max_bytes and side > 1:
        small = _jpeg(picture, side, _LOWER_QUALITY)
        side = side * 2 // 3
    return small


def _cut(picture: Picture, region: Region) -> Picture:
    """A region of a picture by itself: no pixel from beside it, and at least one of its own."""
    if region == WHOLE:
        return picture
    left, top, right, bottom = picture.box
    begin_x, end_x = _pixels(left, right, region[0], region[2])
    begin_y, end_y = _pixels(top, bottom, region[1], region[3])
    across, down = end_x - begin_x, end_y - begin_y
    return picture._replace(
        image=picture.image.crop((begin_x, begin_y, end_x, end_y)),
        width=max(1, round(picture.width * across / (right - left))),
        height=max(1, round(picture.height * down / (bottom - top))),
        box=(0.0, 0.0, float(across), float(down)),
    )


def _pixels(begin: float, end: float, first: float, last: float) -> Tuple[int, int]:
    """The pixels of a side that lie wholly within a part of it."""
    start = min(math.ceil(begin + (end - begin) * first), math.ceil(end) - 1)
    return start, max(math.floor(begin + (end - begin) * last), start + 1)


def _jpeg(picture: Picture, side: int, quality: int) -> bytes:
    ratio = side / max(picture.width, picture.height)
    sides = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    small = io.BytesIO()
    picture.image.resize(sides, 3, box=picture.box).save(small, "JPEG", quality=quality)  # bicubic
    return small.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
