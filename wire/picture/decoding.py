"""Bytes -> an upright picture in RGB or grey.

payload ──> format ──> budget ─────> decode ──────────> whole? ───> upright, RGB or grey ──> Picture
            by magic   pixels and    JPEG: scaled by    jpeg_end
            number     memory        libjpeg on the way
                                     fails: once more, without the parts that nobody needs
"""

from __future__ import annotations

import io
import warnings
from typing import Callable, NamedTuple, Optional, Tuple

# Importing the three formats registers them: Image.open would import all forty to find WebP. The other two
# read EXIF blocks and JPEGs that hold several pictures: behind the fence nothing can be imported any more.
from PIL import (  # noqa: F401
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from wire.picture.budget import Budget
from wire.picture.errors import Undecodable
from wire.picture.formats import FORMATS, Decoded, is_out_of_memory
from wire.picture.kinds import find, look
from wire.picture.limits import MAX_PIXELS, MEMORY
from wire.picture.upright import in_mode, turn_of

#: Bytes of a PNG's text, or colour profile, once unpacked: Pillow's own 1 MB is less than some editors write.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20
# Pillow's own limit is on the pixels that a header names, whatever they cost.
Image.MAX_IMAGE_PIXELS = None
# What Image.open otherwise imports at its first picture.
Image.preinit()


class Picture(NamedTuple):
    """A decoded picture."""

    #: Upright; RGB, or L if grey was asked for. It may be scaled.
    image: Image.Image
    #: Pixels of the whole picture as it was sent, upright.
    width: int
    height: int
    #: What of `image` the picture covers, in pixels: left, top, right, bottom.
    box: Tuple[float, float, float, float]
    #: False where a part of the picture was missing.
    complete: bool


def decode_picture(
    payload: bytes,
    *,
    reduce: Optional[Callable[[int, int], float]] = None,
    grey: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory: int = MEMORY,
) -> Picture:
    """Decode one JPEG, PNG or WebP (of an animation, the first picture).

    Alpha is dropped, and a colour profile ignored, as `convert("RGB")` does in training.

    Args:
        payload: the file's bytes; there may be a few KB of something else before them.
        reduce: how many times smaller the picture may come out, by its upright width and height; libjpeg then
            scales a JPEG to 1/2, 1/4 or 1/8. None for never.
        grey: whether to give one channel, ITU-R 601 luma, instead of RGB.
        max_pixels: pixels to decode, at most, counted after scaling. Checked before any is decoded.
        memory: bytes that may be taken by a JPEG in several scans, of which libjpeg keeps all coefficients.

    Raises:
        Undecodable: for `empty`, `not_an_image`, `corrupt_image`, `image_too_large`, or `decoder_crashed` if
            memory ran out. Nothing else, whatever the bytes are.
    """
    if not payload:
        raise Undecodable("empty", "the payload has no bytes")
    found = find(payload)
    if found is None:
        raise Undecodable("not_an_image", f"{look(payload)}, which is none of JPEG, PNG and WebP")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            picture = payload[found.at :] if found.at else payload
            return _upright(FORMATS[found.kind](picture, Budget(max_pixels, memory, reduce)), grey)
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes make Pillow raise anything at all
        if is_out_of_memory(error):
            raise Undecodable("decoder_crashed", "ran out of the memory it is allowed") from None
        raise Undecodable("corrupt_image", f"begins as {found.kind}, but: {_explain(error)}") from None


def size_of(payload: bytes) -> Optional[Tuple[int, int]]:
    """Width and height by a picture's header, before it is made upright; None if that cannot be read."""
    found = find(payload)
    if found is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(payload[found.at :]), formats=[found.kind]) as image:
                return image.size
    except Exception:  # noqa: BLE001 - as above; decoding it says why
        return None


def _upright(decoded: Decoded, grey: bool) -> Picture:
    image, width, height, (across, down), complete = decoded
    turn = turn_of(image)
    upright = in_mode(image, "L" if grey else "RGB")
    if turn.how is not None:
        upright = upright.transpose(turn.how)
    if turn.swaps:
        width, height, across, down = height, width, down, across
    left = upright.width - across if turn.mirrors[0] else 0.0
    top = upright.height - down if turn.mirrors[1] else 0.0
    return Picture(upright, width, height, (left, top, left + across, top + down), complete)


def _explain(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header is broken"
    text = str(error) or type(error).__name__
    return "".join(char if " " <= char <= "~" else "?" for char in text[:160])
