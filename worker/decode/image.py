"""Bytes of an image -> the pixels a model wants.

payload ──> format ──> size ──────> decode ──────────> RGB, upright ──> resize and crop ──> uint8 HWC
            by magic   max_pixels   JPEG: scaled by                     in one pass
            number                  libjpeg on the way

Runs in a process of its own (see `worker.decode.process`) that imports Pillow and little else.
`worker.errors` is not imported, because pydantic behind it would double that process: what fails is an
`Undecodable`, which names its reason and becomes the FrameError of that reason in `worker.decode.pool`.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple, Optional, Sequence, Tuple

# Importing the three formats registers them: Image.open would import all forty to find WebP.
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401

from worker.decode.preprocessing import Preprocessing

_ORIENTATION = 0x0112  # the EXIF tag


class _Turn(NamedTuple):
    """What makes an image upright; its effect on the upright image's width and height."""

    how: Optional[Image.Transpose]
    swaps: bool
    mirrors: Tuple[bool, bool]


class _Side(NamedTuple):
    """One side of an upright image, in pixels: as sent; the part of the decoded that it covers; decoded."""

    sent: int
    covered: float
    decoded: int


_UPRIGHT = _Turn(None, False, (False, False))
_TURNS = {
    2: _Turn(Image.Transpose.FLIP_LEFT_RIGHT, False, (True, False)),
    3: _Turn(Image.Transpose.ROTATE_180, False, (True, True)),
    4: _Turn(Image.Transpose.FLIP_TOP_BOTTOM, False, (False, True)),
    5: _Turn(Image.Transpose.TRANSPOSE, True, (False, False)),
    6: _Turn(Image.Transpose.ROTATE_270, True, (True, False)),
    7: _Turn(Image.Transpose.TRANSVERSE, True, (True, True)),
    8: _Turn(Image.Transpose.ROTATE_90, True, (False, True)),
}
#: libjpeg scales with another filter than Pillow, so this times the pixels wanted are left for Pillow's; 2.3
#: lets it halve 1080p for a model that wants 232. Of 1,020 crops of photos at 720 to 2160 pixels,
#: efficientnet_lite0 gave another label than with full decoding to 1.6% when it was 1, to 1.4% when it was 2,
#: to 0.9% when it was 2.3 or 3 (and, resized to 232 instead of 256, to 0.9, 0.4, 0.5 and 0.4%). At 2.3 the
#: label that lost was ahead by 0.014 at most.
DRAFT_GAP = 2.3
#: Bytes of a PNG's text, or colour profile, once unpacked: Pillow's own 1 MB is less than some editors write.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Decoded(NamedTuple):
    """An image as the model wants it."""

    #: uint8 [crop, crop, 3], RGB.
    pixels: bytes
    #: Pixels of the whole image as it was sent, upright.
    width: int
    height: int


class Undecodable(Exception):
    """No pixels can be had from a payload.

    Attributes:
        reason: the value of a `wire.messages.Reason`.
        detail: one short line of ASCII.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def decode(payload: bytes, preprocessing: Preprocessing, max_pixels: int, *, exact: bool = False) -> Decoded:
    """Decode one JPEG, PNG or WebP (of an animation, the first picture).

    The pixels are those of torchvision's Resize and CenterCrop, within rounding; a JPEG that is much
    larger differs a little more, because libjpeg already scales it.

    Args:
        payload: the file's bytes.
        preprocessing: to what size; mean and std are left to the engine.
        max_pixels: width x height of the image as it was sent, at most. Checked before any pixel is decoded.
        exact: decode every JPEG at its full size.

    Raises:
        Undecodable: for `empty`, `not_an_image`, `corrupt_image`, `image_too_large`, or `decoder_crashed` if
            memory ran out. Nothing else, whatever the bytes are.
    """
    if not payload:
        raise Undecodable("empty", "the payload has no bytes")
    kind = _kind(payload)
    if kind is None:
        raise Undecodable("not_an_image", f"{_look(payload)}, which is none of JPEG, PNG and WebP")
    try:
        with warnings.catch_warnings():
            # Pillow remarks on odd metadata, which is none of our business, and on sizes, which we check.
            warnings.simplefilter("ignore")
            return _decode(payload, kind, preprocessing, max_pixels, exact)
    except Undecodable:
        raise
    except Image.DecompressionBombError:
        raise Undecodable(
            "image_too_large", f"far more than the {max_pixels} pixels that are taken"
        ) from None
    except Exception as error:  # noqa: BLE001 - hostile bytes make Pillow raise anything at all
        if isinstance(error, MemoryError) or "out of memory" in str(error):
            raise Undecodable("decoder_crashed", "ran out of the memory it is allowed") from None
        raise Undecodable("corrupt_image", f"begins as {kind}, but: {_explain(error)}") from None


def _decode(payload: bytes, kind: str, preprocessing: Preprocessing, max_pixels: int, exact: bool) -> Decoded:
    with Image.open(io.BytesIO(payload), formats=[kind]) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise Undecodable("image_too_large", f"{width} x {height} pixels, at most {max_pixels} are taken")
        # A JPEG comes out at 1/2, 1/4 or 1/8, and its last pixels may be cut through: `covered` is exact.
        side = round(preprocessing.resize * DRAFT_GAP)
        drafted = None if exact else image.draft(None, (side, side))
        covered = drafted[1][2:] if drafted else (width, height)
        image.load()
        turn = _TURNS.get(_orientation(image), _UPRIGHT)
        upright = _to_rgb(image) if turn.how is None else _to_rgb(image).transpose(turn.how)
    sides = [_Side(width, covered[0], upright.width), _Side(height, covered[1], upright.height)]
    if turn.swaps:
        width, height = height, width
        sides = [_Side(width, covered[1], upright.width), _Side(height, covered[0], upright.height)]
    return Decoded(_resize_and_crop(upright, sides, turn, preprocessing).tobytes(), width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bit, which `convert` would clip to 8
        image = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """How a decoded image is to be turned, 1 to 8.

    `ImageOps.exif_transpose` would also write the EXIF block anew, which fails on many a camera's.
    """
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as viewers do: a picture with an unreadable EXIF block is shown as it is
        return 1


def _resize_and_crop(
    image: Image.Image, sides: Sequence[_Side], turn: _Turn, preprocessing: Preprocessing
) -> Image.Image:
    """One pass over just the pixels that stay; a panorama's long side is never blown up.

    Args:
        image: RGB and upright.
        sides: its width and its height.
        turn: how it was made upright.
        preprocessing: to what size.
    """
    crop = preprocessing.crop
    short = min(side.sent for side in sides)
    box = []
    for side, mirrored in zip(sides, turn.mirrors):
        resized = int(preprocessing.resize * side.sent / short)  # torchvision's rounding
        offset = round((resized - crop) / 2)
        scale = side.covered / resized
        start = side.decoded - side.covered if mirrored else 0.0
        box.append((start + offset * scale, min(start + (offset + crop) * scale, side.decoded)))
    (left, right), (top, bottom) = box
    resample = _RESAMPLING[preprocessing.interpolation]
    return image.resize((crop, crop), resample, box=(left, top, right, bottom))


def _kind(payload: bytes) -> Optional[str]:
    if payload.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if payload.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if payload.startswith(b"RIFF") and payload[8:12] == b"WEBP":
        return "WEBP"
    return None


def _look(payload: bytes) -> str:
    """What a person would make of the first bytes."""
    known = {b"GIF8": "a GIF", b"II*\0": "a TIFF", b"MM\0*": "a TIFF", b"%PDF": "a PDF"}
    if payload[:4] in known:
        return known[payload[:4]]
    if payload[4:8] == b"ftyp":
        return "an HEIC, AVIF or MP4"
    begin = payload[:64]
    if all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in begin):
        return "text"
    return "begins with the bytes " + " ".join(f"{byte:02x}" for byte in begin[:8])


def _explain(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header is broken"
    text = str(error) or type(error).__name__
    return "".join(char if " " <= char <= "~" else "?" for char in text[:160])
