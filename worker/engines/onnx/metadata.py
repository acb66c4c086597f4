"""A file's metadata on its pixels and its classes, as the tools write it.

Ultralytics      task, imgsz, names; 0..1, the short side resized to imgsz     (YOLOv5: names, stride)
Windows ML       Image.BitmapPixelFormat, Image.NominalPixelRange              (Custom Vision: BGR, 0..255)
OpenVINO         model_info mean_values, scale_values, labels, resize_type     (Geti, OTX)
others           names, classes, labels, id2label ...; mean, std; imgsz, input_size
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Dict, List, Literal, NamedTuple, Optional, Tuple

from labels.values import HALF
from wire.errors import SettingsError
from worker.decode.preprocessing import SCALINGS, Triple

#: Keys under which class names are found, in this order.
_NAMES = (
    "names",
    "class_names",
    "classes",
    "id2label",
    "labels",
    "categories",
    "idx_to_class",
    "class_to_idx",
    "model_info labels",
)
_SIZES = ("imgsz", "input_size", "image_size", "img_size")
_RANGES = {
    "NominalRange_0_255": "bytes",
    "Normalized_0_1": "unit",
    "Normalized_1_1": "symmetric",
}
_FORMATS = {"Rgb8": "rgb", "Bgr8": "bgr", "Gray8": "gray"}
_RESIZES: Dict[str, Literal["crop", "squeeze", "pad"]] = {
    "standard": "squeeze",
    "crop": "crop",
    "fit_to_window": "pad",
    "fit_to_window_letterbox": "pad",
}


class Stated(NamedTuple):
    """The facts that the metadata states; None for each other."""

    scale: Optional[Tuple[Triple, Triple]] = None
    channels: Optional[str] = None
    #: Height and width.
    size: Optional[Tuple[int, int]] = None
    fit: Optional[Literal["crop", "squeeze", "pad"]] = None
    #: The short side is resized to the crop itself.
    whole_side: bool = False
    names: Tuple[str, ...] = ()


def stated_in(path: object, metadata: Dict[str, str]) -> Stated:
    """Read a file's metadata.

    Raises:
        SettingsError: it says that this is no classifier.
    """
    stated = Stated(size=_size(metadata), names=_names(metadata))
    if metadata.get("author") == "Ultralytics" or {"task", "imgsz", "names"} <= set(metadata):
        task = metadata.get("task", "classify")
        if task != "classify":
            raise SettingsError(
                f"{path} is no classifier: Ultralytics exported it for the task {task}; train and export a "
                "classification model (yolo classify train model=yolo11n-cls.pt)"
            )
        return stated._replace(scale=SCALINGS["unit"], channels="rgb", fit="crop", whole_side=True)
    if {"names", "stride"} <= set(metadata):  # YOLOv5's classifiers normalise as torchvision does
        return stated._replace(scale=SCALINGS["imagenet"], channels="rgb", fit="crop", whole_side=True)
    if any(key.startswith("Image.") for key in metadata):
        scaling = _RANGES.get(metadata.get("Image.NominalPixelRange", ""))
        channels = _FORMATS.get(metadata.get("Image.BitmapPixelFormat", ""))
        return stated._replace(scale=SCALINGS[scaling] if scaling else None, channels=channels)
    fit = _RESIZES.get(metadata.get("model_info resize_type", ""))
    scale = _mean_and_std(metadata)
    channels = _order(scale)
    if scale and channels == "bgr":  # they are kept in the order of red, green and blue
        scale = scale[0][::-1], scale[1][::-1]
    return stated._replace(scale=scale, channels=channels, fit=fit)


def _names(metadata: Dict[str, str]) -> Tuple[str, ...]:
    for key in _NAMES:
        if key not in metadata:
            continue
        text = metadata[key].strip()
        if key == "model_info labels":  # spaces between labels, underscores within
            return tuple(text.split())
        names = names_in(_literal(text))
        if any(map(HALF.search, names)):  # no answer can hold it
            continue
        if not names and re.search(r"[,;\n]", text) and not text.startswith(("[", "{")):
            names = tuple(part.strip() for part in re.split(r"[,;\n]+", text) if part.strip())
        if names:
            return names
    return ()


def fitting_names(own: Tuple[str, ...], outputs: int) -> Tuple[Tuple[str, ...], List[str]]:
    """The names that the file carries, if they fit."""
    if not own or len(own) == outputs or (outputs == 1 and len(own) == 2):
        return own, []
    return (), [f"the file names {len(own)} classes and gives {outputs} numbers: its names are left aside"]


def names_in(found: Any) -> Tuple[str, ...]:
    """Class names in a list, in {index: name} or in {name: index}; none, unless they are 0, 1, 2 ..."""
    if isinstance(found, (list, tuple)):
        return tuple(map(str, found)) if all(isinstance(name, str) for name in found) else ()
    if not isinstance(found, dict):
        return ()
    try:
        by_index = {int(index): str(name) for index, name in found.items()}
    except (TypeError, ValueError):
        try:
            by_index = {int(index): str(name) for name, index in found.items()}
        except (TypeError, ValueError):
            return ()
    complete = sorted(by_index) == list(range(len(found)))
    return tuple(by_index[index] for index in range(len(found))) if complete else ()


def _literal(text: str) -> Any:
    """JSON, or what Python prints; None where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _size(metadata: Dict[str, str]) -> Optional[Tuple[int, int]]:
    for key in _SIZES:
        sides = [int(number) for number in re.findall(r"\d+", metadata.get(key, ""))[:4]]
        sides = [side for side in sides if side > 4]  # of [3, 224, 224] or [1, 3, 224, 224]
        if sides and max(sides) <= 4096:
            return sides[0], sides[1] if len(sides) > 1 else sides[0]
    return None


def _mean_and_std(metadata: Dict[str, str]) -> Optional[Tuple[Triple, Triple]]:
    mean = _triple(metadata, "model_info mean_values", "mean", "image_mean")
    std = _triple(metadata, "model_info scale_values", "std", "image_std")
    openvino = any(key.startswith("model_info") for key in metadata)
    # Of OpenVINO's the other one is 0, or 1; of any other tool's, one alone is half of what there is to say.
    if (mean is None and std is None) or (not openvino and (mean is None or std is None)):
        return None
    mean, std = mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0)
    # OpenVINO's are of 0..255, most others' of 0..1: no deviation of 0..1 is larger than that.
    of_bytes = openvino or max(*mean, *std) > 1
    white = 255.0 if of_bytes else 1.0
    if min(std) <= 0:
        return None
    return _divided(mean, white), _divided(std, white)


def _order(scale: Optional[Tuple[Triple, Triple]]) -> Optional[str]:
    """The order of the channels, by ImageNet's mean; None for any other, as three times the same."""
    imagenet = SCALINGS["imagenet"][0]
    for order, mean in (("rgb", imagenet), ("bgr", imagenet[::-1])):
        if scale and all(abs(one - other) < 0.005 for one, other in zip(scale[0], mean)):
            return order
    return None


def _divided(values: Triple, by: float) -> Triple:
    return values[0] / by, values[1] / by, values[2] / by


def _triple(metadata: Dict[str, str], *keys: str) -> Optional[Triple]:
    for key in keys:
        text = metadata.get(key, "")
        numbers = re.findall(r"-?\d+\.?\d*(?:[eE]-?\d+)?", text)
        rest = re.sub(r"-?\d+\.?\d*(?:[eE]-?\d+)?", "", text)
        if len(numbers) in (1, 3) and not rest.strip(" \t\n,;()[]"):
            values = [float(number) for number in numbers] * (3 // len(numbers))
            return values[0], values[1], values[2]
    return None
