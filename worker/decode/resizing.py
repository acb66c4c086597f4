"""Resizing: by Pillow, or several times faster by cykooz-resizer, with Pillow's pixels but for rounding.

by_pillow         the reference, and whatever the other is not for
open_simd         cykooz-resizer, where it is installed
find_fault        why the two do not agree on this machine

cykooz-resizer works in Pillow's own memory, whose layout it knows by Pillow's version: with another layout it
might crash. So it is tried once, by `python -m worker.decode.resizing`, before decoders take it.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import Callable, Iterator, Tuple

from PIL import Image, ImageChops

from wire.decoder.fence import raise_fence

Size = Tuple[int, int]
Box = Tuple[float, float, float, float]
#: A picture in RGB or L, the size that is wanted, the interpolation, and what of the picture is wanted.
Resize = Callable[[Image.Image, Size, str, Box], Image.Image]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
#: Pixels that an interpolation looks at to each side, of a picture that is not made smaller.
_REACH = {"bilinear": 1, "bicubic": 2}
#: Pictures with a longer side are left to Pillow: where cykooz-resizer has no memory, it ends the process.
_LONGEST_SIDE = 1 << 14
#: Both round after each of two passes. Pillow 13 has some of the pictures go through them in another order:
#: then 1 is usual, 2 rare.
_MOST_APART = 2


def by_pillow(image: Image.Image, size: Size, interpolation: str, box: Box) -> Image.Image:
    """Resize a part of a picture."""
    return image.resize(size, _RESAMPLING[interpolation], box=box)


def open_simd() -> Resize:
    """A resizer of pictures that is faster than Pillow for what cameras send, and Pillow for all else.

    Raises:
        ImportError: cykooz-resizer is not installed.
    """
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

    resizer = Resizer()
    # A camera's pictures have one size: what is written over anyway is not cleared for each of them.
    scratch = functools.lru_cache(maxsize=1)(Image.new)
    algorithms = {
        "bilinear": ResizeAlg.convolution(FilterType.bilinear),
        "bicubic": ResizeAlg.convolution(FilterType.catmull_rom),
    }

    def pass_over(image: Image.Image, into: Image.Image, interpolation: str, box: Box) -> None:
        left, top, right, bottom = box
        part = CropBox(left, top, right - left, bottom - top)
        resizer.resize_pil(image, into, ResizeOptions(algorithms[interpolation], crop_box=part))

    def resize(image: Image.Image, size: Size, interpolation: str, box: Box) -> Image.Image:
        if not _is_usual(image, size, interpolation, box):
            return by_pillow(image, size, interpolation, box)
        # By itself it begins with the vertical pass, and so rounds other numbers than Pillow.
        first, last = _rows(image, size, interpolation, box)
        left, top, right, bottom = box
        narrow, resized = scratch(image.mode, (size[0], last - first)), Image.new(image.mode, size)
        try:
            pass_over(image, narrow, interpolation, (left, first, right, last))
            pass_over(narrow, resized, interpolation, (0, top - first, size[0], bottom - first))
            return resized
        except ValueError:  # of a part that ends beyond the picture, by rounding
            return by_pillow(image, size, interpolation, box)

    return resize


def _is_usual(image: Image.Image, size: Size, interpolation: str, box: Box) -> bool:
    if image.mode not in ("RGB", "L") or max(image.size) > _LONGEST_SIDE:
        return False
    # Where bicubic overshoots black or white, it matters which pass is the first: for these it is known.
    across, down = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
    known = image.height <= image.width and across >= 1 and down <= 1.2 * across
    return known or interpolation == "bilinear"


def _rows(image: Image.Image, size: Size, interpolation: str, box: Box) -> Tuple[int, int]:
    """The first row of a picture that the vertical pass looks at, and the one after the last."""
    reach = _REACH[interpolation] * max(1.0, (box[3] - box[1]) / size[1])
    return max(0, math.floor(box[1] - reach)), min(image.height, math.ceil(box[3] + reach))


def find_fault(resize: Resize) -> str:
    """Where a resizer's pixels are others than Pillow's; empty if they are the same but for rounding."""
    for image in _samples():
        width, height = image.size
        for box in ((0.0, 0.0, float(width), float(height)), (10.3, 2.7, width - 4.1, height - 0.9)):
            for size, how in ((33, 30), "bicubic"), ((width, 64), "bilinear"), ((224, 224), "bilinear"):
                ours = resize(image, size, how, box)
                apart = ImageChops.difference(ours, by_pillow(image, size, how, box))
                most = max(high for _, high in _extrema(apart))
                if most > _MOST_APART:
                    return f"gives pixels that differ by {most} from Pillow's, of {image.mode} pictures"
    return ""


def _samples() -> Iterator[Image.Image]:
    """Pictures with no two rows or columns alike."""
    width, height = 131, 97
    noise = bytes(number * number * 7919 % 65_521 & 0xFF for number in range(3 * width * height))
    for image in (Image.frombytes("RGB", (width, height), noise), Image.linear_gradient("L")):
        yield image
        yield image.convert("L" if image.mode == "RGB" else "RGB")


def _extrema(image: Image.Image) -> Tuple[Tuple[float, float], ...]:
    found = image.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def main() -> None:
    """End with a line that says what is wrong with cykooz-resizer here, if anything is."""
    resize = open_simd()
    raise_fence(0, 2)  # as a decoder does, in which it may then start no thread
    sys.exit(find_fault(resize) or None)


if __name__ == "__main__":
    main()
