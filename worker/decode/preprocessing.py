"""How a model wants its pixels: the recipe that its weights were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Tuple


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, normalise, in this order.

    Decoders resize and crop; the engine normalises, on its own device.

    Raises:
        ValueError: the crop is larger than the resized image would be, or no pixels are left.
    """

    #: Pixels of the image's short side once it is resized.
    resize: int
    #: Pixels of each side of the square that is cut from its centre.
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    #: Of red, green and blue, where black is 0 and white is 1; the defaults are ImageNet's.
    mean: Tuple[float, float, float] = (0.485, 0.456, 0.406)
    #: Standard deviation, likewise.
    std: Tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"cannot crop {self.crop} pixels from a side of {self.resize}")
