"""Bytes of an image -> the pixels a model wants.

payload ──> wire.picture: upright, RGB or grey, scaled by libjpeg ──> fit: crop, squeeze, pad ──> uint8 HWC

Runs in a process of its own (see `worker.decode.process`) that imports Pillow and little else.
`worker.errors` is not imported, because pydantic behind it would double that process: what fails is an
`Undecodable`, which names its reason and becomes the FrameError of that reason in `worker.decode.pool`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, Tuple

from PIL import Image

from wire.picture.decoding import Picture, decode_picture
from wire.picture.limits import MAX_PIXELS, MEMORY
from wire.picture.region import WHOLE, Region
from worker.decode.preprocessing import Preprocessing
from worker.decode.resizing import Resize, by_pillow

#: libjpeg scales with another filter than Pillow, so this times the pixels wanted are left for Pillow's; 2.3
#: lets it halve 1080p for a model that wants 232. Of 1,020 crops of photos at 720 to 2160 pixels,
#: efficientnet_lite0 gave another label than with full decoding to 1.6% when it was 1, to 1.4% when it was 2,
#: to 0.9% when it was 2.3 or 3 (and, resized to 232 instead of 256, to 0.9, 0.4, 0.5 and 0.4%). At 2.3 the
#: label that lost was ahead by 0.014 at most.
DRAFT_GAP = 2.3


class Decoded(NamedTuple):
    """An image as the model wants it."""

    #: uint8 [H, W, C], as Preprocessing has it.
    pixels: bytes
    #: Pixels of the whole image as it was sent, upright.
    width: int
    height: int
    #: False where a part of the image was missing.
    complete: bool = True


def decode(
    payload: bytes,
    preprocessing: Preprocessing,
    max_pixels: int = MAX_PIXELS,
    *,
    region: Region = WHOLE,
    exact: bool = False,
    memory: int = MEMORY,
    resize: Resize = by_pillow,
) -> Decoded:
    """Decode one JPEG, PNG or WebP (of an animation, the first picture), or a region of it.

    The pixels are those of torchvision's Resize and CenterCrop, of its Resize to height and width, or of
    Pillow's ImageOps.pad, within rounding. A much larger JPEG differs a little more: libjpeg scales it first.

    Args:
        payload: the file's bytes.
        preprocessing: to what size, how, and in which channels; mean and std are left to the engine.
        max_pixels: pixels to decode, at most: all that were sent, or of a JPEG those that libjpeg's scaling
            leaves. Checked before any pixel is decoded.
        region: what is wanted, as if the rest of the picture was not there; but all of it is decoded.
        exact: decode every JPEG at its full size.
        memory: bytes that a JPEG in several scans may take, because libjpeg keeps all of it.
        resize: what resizes the picture.

    Raises:
        Undecodable: for `empty`, `not_an_image`, `corrupt_image`, `image_too_large`, or `decoder_crashed` if
            memory ran out. Nothing else, whatever the bytes are.
    """
    picture = decode_picture(
        payload,
        reduce=None if exact else functools.partial(_reduction, preprocessing, region),
        grey=preprocessing.channels == "gray",
        max_pixels=max_pixels,
        memory=memory,
    )
    image = _fit(_wanted_of(picture, region), preprocessing, resize)
    pixels = image.tobytes("raw", "BGR") if preprocessing.channels == "bgr" else image.tobytes()
    return Decoded(pixels, picture.width, picture.height, picture.complete)


def _reduction(preprocessing: Preprocessing, region: Region, width: int, height: int) -> float:
    """How many times smaller a picture may be decoded."""
    left, top, right, bottom = region
    ratios = _ratios(width * (right - left), height * (bottom - top), preprocessing)
    return 1 / (DRAFT_GAP * max(ratios))


class _Wanted(NamedTuple):
    """The part of an image that is fitted, as if it was all of it."""

    image: Image.Image
    #: Pixels of the part as it was sent.
    width: float
    height: float
    #: Where it is in `image`.
    box: Tuple[float, float, float, float]


def _wanted_of(picture: Picture, region: Region) -> _Wanted:
    """A region of a picture; of what was decoded, at least a pixel."""
    left, top, right, bottom = picture.box
    if region == WHOLE:
        return _Wanted(picture.image, picture.width, picture.height, picture.box)
    begin_x, end_x = _at_least_a_pixel(left, right, region[0], region[2])
    begin_y, end_y = _at_least_a_pixel(top, bottom, region[1], region[3])
    width = picture.width * (end_x - begin_x) / (right - left)
    height = picture.height * (end_y - begin_y) / (bottom - top)
    return _Wanted(picture.image, width, height, (begin_x, begin_y, end_x, end_y))


def _at_least_a_pixel(begin: float, end: float, first: float, last: float) -> Tuple[float, float]:
    side = end - begin
    length = min(max(side * (last - first), 1.0), side)
    start = min(begin + side * first, end - length)
    return start, start + length


def _ratios(width: float, height: float, preprocessing: Preprocessing) -> Tuple[float, float]:
    """By how much an image's width and height are resized."""
    down, across, _ = preprocessing.shape
    if preprocessing.fit == "squeeze":
        return across / width, down / height
    if preprocessing.fit == "pad":
        ratio = min(across / width, down / height)
    else:
        wanted, of = _cover(width, height, preprocessing)
        ratio = wanted / of
    return ratio, ratio


def _cover(width: float, height: float, preprocessing: Preprocessing) -> Tuple[int, float]:
    """Pixels of one side once it is resized, and that side: the short one, or one that would not cover."""
    down, across, _ = preprocessing.shape
    sides = ((preprocessing.resize, min(width, height)), (across, width), (down, height))
    return max(sides, key=lambda side: side[0] / side[1])


def _fit(picture: _Wanted, preprocessing: Preprocessing, resize: Resize) -> Image.Image:
    down, across, _ = preprocessing.shape
    if preprocessing.fit == "squeeze":
        return resize(picture.image, (across, down), preprocessing.interpolation, picture.box)
    if preprocessing.fit == "crop":
        box = _box_of_crop(picture, preprocessing)
        return resize(picture.image, (across, down), preprocessing.interpolation, box)
    # As ImageOps.pad has it.
    wide = picture.width * down > picture.height * across
    if wide:
        size = (across, max(1, round(picture.height / picture.width * across)))
    else:
        size = (max(1, round(picture.width / picture.height * down)), down)
    padded = Image.new(picture.image.mode, (across, down))
    resized = resize(picture.image, size, preprocessing.interpolation, picture.box)
    padded.paste(resized, (round((across - size[0]) / 2), round((down - size[1]) / 2)))
    return padded


def _box_of_crop(picture: _Wanted, preprocessing: Preprocessing) -> Tuple[float, float, float, float]:
    """The part that stays: all else of it, such as a panorama's long side, is never resized."""
    down, across, _ = preprocessing.shape
    wanted, of = _cover(picture.width, picture.height, preprocessing)
    left, top, right, bottom = picture.box
    begin_x, end_x = _part(wanted, of, picture.width, across)
    begin_y, end_y = _part(wanted, of, picture.height, down)
    return (
        left + begin_x * (right - left),
        top + begin_y * (bottom - top),
        min(left + end_x * (right - left), picture.image.width),
        min(top + end_y * (bottom - top), picture.image.height),
    )


def _part(wanted: int, of: float, side: float, crop: int) -> Tuple[float, float]:
    """Begin and end of the middle `crop` pixels of a resized side, in shares, as torchvision rounds."""
    resized = int(wanted * side / of)
    offset = round((resized - crop) / 2)
    return offset / resized, (offset + crop) / resized
