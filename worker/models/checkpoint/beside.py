"""Facts of the model that were saved beside its tensors: the names of its classes, its preprocessing."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from labels.values import KEYS, names_in, number
from worker.decode.preprocessing import SCALINGS
from worker.models.checkpoint.things import Global, Node, Thing, items, walk

#: Under these, tools keep class names; whatever their case.
_NAMES = frozenset(
    (
        *KEYS,
        *("classnames", "target_names", "vocab", "index_to_class", "idx_to_label"),
        *("idx2class", "idx2label", "class2idx", "label2idx", "label_to_idx"),
    )
)


class Hints(NamedTuple):
    """The preprocessing that a training's arguments name."""

    #: Fields of Preprocessing.
    fields: Dict[str, Any]
    #: Whether they say how the image is cut, and how its pixels are scaled.
    size: bool = False
    scaling: bool = False


def class_names(root: Any, outputs: int) -> Tuple[str, ...]:
    """The names of so many classes in a checkpoint; empty if it holds none, or two accounts of them."""
    found = set()
    for node in walk(root):
        if not isinstance(node.value, (dict, Thing)):
            continue
        for key, value in items(node.value).items():
            if isinstance(key, str) and key.lower() in _NAMES:
                names = _names(value)
                # Numbers are a data set's targets rather than names.
                if len(names) == outputs and any(number(name) is None for name in names):
                    found.add(names)
    return found.pop() if len(found) == 1 else ()


def _names(value: Any) -> Tuple[str, ...]:
    try:
        return names_in(_plain(value))
    except ValueError:  # something else that is called so
        return ()


def _plain(value: Any) -> Any:
    """A list or a dict, in whatever class of its own."""
    if isinstance(value, Thing):
        if value.elements is not None:
            return value.elements
        held = items(value)
        return held.get("items", held)  # fastai's CategoryMap is a list in an attribute
    return list(value) if isinstance(value, tuple) else value


def hints(root: Any) -> Hints:
    """The preprocessing in the arguments of torchvision's reference training, or of timm's."""
    for node in walk(root):
        if node.path and node.path[-1] in ("args", "hparams", "config"):
            found = _hints(node)
            if found is not None:
                return found
    return Hints({})


def _hints(node: Node) -> Optional[Hints]:
    given = items(node.value)
    fields: Dict[str, Any] = {}
    if given.get("interpolation") in ("bilinear", "bicubic"):
        fields["interpolation"] = given["interpolation"]
    resize, crop = given.get("val_resize_size"), given.get("val_crop_size")
    if isinstance(resize, int) and isinstance(crop, int) and 0 < crop <= resize <= 4096:
        fields.update(resize=resize, crop=crop, mean=SCALINGS["imagenet"][0], std=SCALINGS["imagenet"][1])
        return Hints(fields, size=True, scaling=True)
    if "crop_pct" not in given:
        return None
    sides = _numbers(given.get("input_size"))
    side: Any = given.get("img_size") or (sides[-1] if sides else None)
    percent = given["crop_pct"]
    known = isinstance(side, (int, float)) and isinstance(percent, (int, float))
    if known and 0 < side <= 4096 and 0.1 < percent <= 1:
        fields.update(crop=int(side), resize=int(side / percent))
    mean, std = _numbers(given.get("mean")), _numbers(given.get("std"))
    scaled = mean is not None and std is not None and len(mean) == len(std) == 3 and min(std) > 0
    if scaled:
        fields.update(mean=tuple(mean or ()), std=tuple(std or ()))
    return Hints(fields, size="crop" in fields, scaling=scaled)


def _numbers(value: Any) -> Optional[List[float]]:
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, (int, float)) for part in value):
        return list(value)
    return None


def makers(root: Any) -> List[str]:
    """The names of what a pickle would import to make what is in it."""
    found = set()
    for node in walk(root):
        if isinstance(node.value, Thing):
            maker = node.value.maker
            found.add(maker.name if isinstance(maker, Global) else node.value.name)
    return sorted(found - {""})
