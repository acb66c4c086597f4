"""Bytes -> an upright picture in RGB or grey.

payload ──> format ──> limits ─────> decode ──────────> whole? ───> upright, RGB or grey ──> Picture
            by magic   pixels and    JPEG: scaled by    jpeg_end
            number     memory        libjpeg on the way
                                     fails: once more, without what nobody needs
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

from wire.picture import jpeg, jpeg_end, png, webp
from wire.picture.errors import Undecodable
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


class _Decoded(NamedTuple):
    image: Image.Image
    width: int
    height: int
    covered: Tuple[float, float]
    complete: bool


class _Limits(NamedTuple):
    max_pixels: int
    memory: int
    #: How many times smaller the picture may come out than it was sent, by its upright width and height.
    reduce: Optional[Callable[[int, int], float]]

    def scale(self, image: Image.Image) -> int:
        """The largest scale that libjpeg knows and that is wanted."""
        if self.reduce is None:
            return 1
        width, height = image.size
        swaps = turn_of(image).swaps
        most = self.reduce(height, width) if swaps else self.reduce(width, height)
        return next(scale for scale in (8, 4, 2, 1) if scale <= max(1.0, most))

    def check_pixels(self, size: Tuple[int, int], scale: int) -> None:
        """Raises Undecodable if that many pixels are more than are taken."""
        width, height = size
        left = (-(-width // scale), -(-height // scale))
        if left[0] * left[1] > self.max_pixels:
            scaled = f" ({left[0]} x {left[1]} once libjpeg has scaled them)" if scale > 1 else ""
            raise Undecodable(
                "image_too_large", f"{width} x {height} pixels{scaled}, at most {self.max_pixels} are taken"
            )

    def check(self, header: jpeg.Header, size: Tuple[int, int], scale: int) -> None:
        """Raises Undecodable if a JPEG, so scaled, takes more pixels or more memory than are taken."""
        self.check_pixels(size, scale)
        if header.in_one_scan:  # of which libjpeg keeps a few rows only
            return
        pixels = size[0] * size[1]
        # All coefficients, the pixels, and those that jpeg_end compares to know what is missing.
        needed = header.coefficient_bytes + 4 * pixels // scale**2
        needed += 9 * pixels // min(scale, jpeg_end.FINE_SCALE) ** 2
        if needed > self.memory:
            raise Undecodable(
                "image_too_large",
                f"{size[0]} x {size[1]} pixels in several scans (progressive) take {needed >> 20} MB "
                f"of memory to decode, {self.memory >> 20} MB are allowed",
            )


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
            # Pillow remarks on odd metadata, which is none of our business.
            warnings.simplefilter("ignore")
            decode = {"JPEG": _decode_jpeg, "PNG": _decode_png, "WEBP": _decode_webp}[found.kind]
            decoded = decode(
                payload[found.at :] if found.at else payload, _Limits(max_pixels, memory, reduce)
            )
            return _upright(decoded, grey)
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes make Pillow raise anything at all
        if _is_memory(error):
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


# --- the formats ------------------------------------------------------------------------------------------


def _decode_jpeg(payload: bytes, limits: _Limits) -> _Decoded:
    header = jpeg.read_header(payload)
    if header is None:
        raise UnidentifiedImageError
    # What it costs at least, because to find its end may take decoding as well.
    limits.check(header, (header.width, header.height), 1 if limits.reduce is None else header.coarsest)
    ended = jpeg_end.with_end(payload, header)
    try:
        return _decode_ended(ended, header, limits)
    except Undecodable:
        raise
    except Exception as error:
        if _is_memory(error):
            raise
        needed = jpeg.only_needed(ended.data, header)
        marked = ended.marked and jpeg.read_scans(ended.data, header)[-1].following == jpeg.END
        header = jpeg.read_header(needed)
        if header is None or needed == ended.data:
            raise
        return _decode_ended(jpeg_end.Ended(needed, marked), header, limits)


def _decode_ended(ended: jpeg_end.Ended, header: jpeg.Header, limits: _Limits) -> _Decoded:
    with Image.open(io.BytesIO(ended.data), formats=["JPEG"]) as image:
        size = image.size
        scale = min(limits.scale(image), header.coarsest)
        limits.check(header, size, scale)
        covered = jpeg_end.shrink(image, scale)
        image.load()
        complete = jpeg_end.is_complete(ended, header, image, scale)
        return _Decoded(image, *size, covered, complete)


def _decode_png(payload: bytes, limits: _Limits) -> _Decoded:
    try:
        decoded = _decode_plain(payload, "PNG", limits)
        if png.has_end(payload):
            return decoded
        del decoded
        again = png.only_needed(payload, jpeg_end.MOST_MISSING)
        if again is None:
            raise Undecodable(
                "corrupt_image", "begins as PNG, but: its end is missing, and with it some pixels"
            )
    except Undecodable:
        raise
    except Exception as error:
        again = None if _is_memory(error) else png.only_needed(payload, jpeg_end.MOST_MISSING)
        if again is None:
            raise
    needed, whole = again
    return _decode_plain(needed, "PNG", limits)._replace(complete=whole)


def _decode_webp(payload: bytes, limits: _Limits) -> _Decoded:
    try:
        return _decode_plain(payload, "WEBP", limits)
    except Undecodable:
        raise
    except Exception as error:
        needed = None if _is_memory(error) else webp.only_needed(payload)
        if needed is None or needed == payload:
            raise
        return _decode_plain(needed, "WEBP", limits)


def _decode_plain(payload: bytes, kind: str, limits: _Limits) -> _Decoded:
    with Image.open(io.BytesIO(payload), formats=[kind]) as image:
        limits.check_pixels(image.size, 1)
        image.load()
        return _Decoded(image, *image.size, image.size, True)


# --- pixels -----------------------------------------------------------------------------------------------


def _upright(decoded: _Decoded, grey: bool) -> Picture:
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


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error)


def _explain(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header is broken"
    text = str(error) or type(error).__name__
    return "".join(char if " " <= char <= "~" else "?" for char in text[:160])
