"""A decoded image the right way up, in RGB or grey."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from PIL import Image

_ORIENTATION = 0x0112  # the EXIF tag


class Turn(NamedTuple):
    """What makes an image upright; its effect on the upright image's width and height."""

    how: Optional[Image.Transpose]
    swaps: bool
    mirrors: Tuple[bool, bool]


_UPRIGHT = Turn(None, False, (False, False))
_TURNS = {
    2: Turn(Image.Transpose.FLIP_LEFT_RIGHT, False, (True, False)),
    3: Turn(Image.Transpose.ROTATE_180, False, (True, True)),
    4: Turn(Image.Transpose.FLIP_TOP_BOTTOM, False, (False, True)),
    5: Turn(Image.Transpose.TRANSPOSE, True, (False, False)),
    6: Turn(Image.Transpose.ROTATE_270, True, (True, False)),
    7: Turn(Image.Transpose.TRANSVERSE, True, (True, True)),
    8: Turn(Image.Transpose.ROTATE_90, True, (False, True)),
}


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in RGB or L; alpha is dropped, 16 bits become 8."""
    if image.mode.startswith("I"):  # 16 bit, which `convert` would clip to 8
        image = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.mode not in ("L", "LA", "1", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def turn_of(image: Image.Image) -> Turn:
    """How an image is to be turned, by its EXIF block.

    `ImageOps.exif_transpose` would also rewrite the EXIF block, which fails with those of many cameras.
    """
    try:
        return _TURNS.get(int(image.getexif().get(_ORIENTATION, 1)), _UPRIGHT)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as viewers do: a picture with an unreadable EXIF block is shown as it is
        return _UPRIGHT
