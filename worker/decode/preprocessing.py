"""How a model wants its pixels: the recipe that its weights were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Literal, Optional, Tuple

Triple = Tuple[float, float, float]

#: Mean and standard deviation, where black is 0 and white is 1, by the name of what the pixels become.
SCALINGS: Dict[str, Tuple[Triple, Triple]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "bytes": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}


@dataclass(frozen=True)
class Preprocessing:
    """Fit the image into the model's input, order its channels, normalise.

    Decoders fit and order; the engine normalises, on its own device.

    Raises:
        ValueError: the crop is larger than the resized image would be, or no pixels are left.
    """

    #: Pixels of the image's short side once it is resized; only `fit="crop"` reads it.
    resize: int
    #: Pixels of the height that the model sees, and of its width unless `width` says otherwise.
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    #: Of red, green and blue, where black is 0 and white is 1; the defaults are ImageNet's.
    mean: Triple = SCALINGS["imagenet"][0]
    #: Standard deviation, likewise.
    std: Triple = SCALINGS["imagenet"][1]
    #: `crop` resizes the short side and cuts the centre out; `squeeze` shows the whole image, distorted;
    #: `pad` shows the whole image between black bars.
    fit: Literal["crop", "squeeze", "pad"] = "crop"
    #: The order of the channels in the pixels; `gray` has a single one, ITU-R 601 luma.
    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    #: Pixels of the width that the model sees; None for a square.
    width: Optional[int] = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"no pixels are left in {self.shape[1]} x {self.shape[0]}")
        if self.fit == "crop" and max(self.shape[:2]) > self.resize and self.width is None:
            raise ValueError(f"cannot crop {self.crop} pixels from a side of {self.resize}")

    @property
    def shape(self) -> Tuple[int, int, int]:
        """Height, width and channels of the pixels."""
        return (self.crop, self.width or self.crop, 1 if self.channels == "gray" else 3)

    @property
    def normalisation(self) -> Tuple[Tuple[float, ...], Tuple[float, ...]]:
        """Scale and shift of each channel, in the order of the pixels.

        (x / 255 - mean) / std  =  x * 1/(255 std)  -  mean/std: one multiply-add.
        """
        order = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "gray": (0,)}[self.channels]
        scale = tuple(1 / (255 * self.std[channel]) for channel in order)
        shift = tuple(-self.mean[channel] / self.std[channel] for channel in order)
        return scale, shift
