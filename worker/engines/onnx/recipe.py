"""The recipe for a file's pixels: flags, then its metadata, then its first operators, then what is usual.

An assumption is reported, with the flag that says otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import SCALINGS, Preprocessing, Triple
from worker.engines.onnx.graph.affine import follow
from worker.engines.onnx.graph.nodes import Graph
from worker.engines.onnx.graph.pixels import Pixels, pixels_of
from worker.engines.onnx.input import Input
from worker.engines.onnx.metadata import Stated
from worker.models.overrides import overridden, squeezes

#: Said where pixels go in as they are, and a flag speaks of something else.
BYTES_TAKEN = "the file takes pixels as bytes: --scaling, --mean and --std are left aside"
_DEFAULT_CROP = 224
_MEANS = {
    "imagenet": "normalised by ImageNet's mean and deviation",
    "unit": "from 0 to 1",
    "symmetric": "from -1 to 1",
    "bytes": "from 0 to 255",
}


def recipe_of(
    path: Path, wanted: Input, graph: Graph, stated: Stated, choice: ModelChoice
) -> Tuple[Preprocessing, Tuple[str, ...]]:
    """The recipe, and what was assumed of it.

    Raises:
        SettingsError: the flags ask for what the file does not take.
    """
    assumed: List[str] = []
    recipe = _size(path, wanted, stated, choice, assumed)
    recipe = replace(recipe, **_pixels(wanted, graph, stated, choice, assumed))
    recipe = overridden(recipe, choice)
    if recipe.shape[2] != wanted.channels:
        raise SettingsError(
            f"--channels {recipe.channels}: {path} takes images of {wanted.channels} "
            f"channel{'s' if wanted.channels > 1 else ''}"
        )
    return recipe, tuple(assumed)


def _size(
    path: Path, wanted: Input, stated: Stated, choice: ModelChoice, assumed: List[str]
) -> Preprocessing:
    height, width = wanted.height or wanted.width, wanted.width or wanted.height
    if height and width and choice.crop and choice.crop != height:
        raise SettingsError(f"--crop {choice.crop}: {path} takes images of {width} x {height} pixels")
    if height is None or width is None:
        usual = (choice.crop, choice.crop) if choice.crop else stated.size
        height, width = usual or (_DEFAULT_CROP, _DEFAULT_CROP)
        if usual is None:
            assumed.append(
                f"the file takes images of any size, and nothing tells which it was trained on: "
                f"{_DEFAULT_CROP} pixels are assumed; --crop says otherwise"
            )
    oblong = height != width
    resize = round(min(height, width) * (1 if stated.whole_side else 256 / 224))
    fit = stated.fit or ("squeeze" if oblong or squeezes(choice, height) else "crop")
    if not (stated.fit or choice.fit) and (fit == "squeeze" or not choice.resize):
        if fit == "squeeze":
            how = f"the whole image is squeezed into its {width} x {height} pixels"
        else:
            how = f"the short side is resized to {resize} pixels, and the centre is cut out"
        otherwise = "--fit says" if choice.resize else "--fit and --resize say"
        assumed.append(f"nothing in the file tells how images are fitted: {how}; {otherwise} otherwise")
    return Preprocessing(
        resize=max(resize, height, width) if oblong else resize,
        crop=height,
        width=width if oblong else None,
        fit=fit,
    )


def _pixels(
    wanted: Input, graph: Graph, stated: Stated, choice: ModelChoice, assumed: List[str]
) -> Dict[str, Any]:
    """Mean, deviation and order of the channels."""
    axis = (1 if wanted.channels_first else 3) - (0 if wanted.batched else 1)
    found = pixels_of(follow(graph, wanted.name, wanted.channels, axis, 4 if wanted.batched else 3))
    channels = stated.channels or (found and found.channels) or "rgb"
    if wanted.channels == 1:
        channels = "gray"
    order = f" and channels in the order {channels}" if not stated.channels and not choice.channels else ""
    if wanted.channels == 1 or (found and found.channels):
        order = ""
    (mean, std), note = _scale(wanted, stated, found, order)
    given = bool(choice.scaling or choice.mean or choice.std)
    # The flags settle what else would be assumed; of bytes they settle nothing.
    if note and given == wanted.takes_bytes:
        assumed.append(note)
    return {"mean": mean, "std": std, "channels": channels}


def _scale(
    wanted: Input, stated: Stated, found: Optional[Pixels], order: str
) -> Tuple[Tuple[Triple, Triple], str]:
    """Mean and deviation, and what there is to say of them; empty where the file tells.

    Args:
        wanted: what the file takes.
        stated: what its metadata states.
        found: what its first operators tell.
        order: what there is to say of the channels; empty where their order is known.
    """
    if wanted.takes_bytes:
        return SCALINGS["bytes"], BYTES_TAKEN
    if stated.scale:
        unknown = (
            "nothing in the file tells the order of its channels: --channels rgb is assumed; --channels "
            "says otherwise"
        )
        return stated.scale, unknown if order else ""
    if found:
        calibrated = (
            f"its quantisation was calibrated on pixels {_MEANS[found.scaling]}: --scaling {found.scaling}"
            f"{order} {'are' if order else 'is'} assumed; --scaling and --channels say otherwise"
        )
        return SCALINGS[found.scaling], calibrated if found.likely else ""
    scaling = "unit" if wanted.channels == 1 else "imagenet" if wanted.channels_first else "symmetric"
    return SCALINGS[scaling], (
        f"nothing in the file tells what its pixels are: --scaling {scaling} ({_MEANS[scaling]})"
        f"{order} {'are' if order else 'is'} assumed; --scaling (imagenet, unit, symmetric, bytes)"
        f"{' and --channels (rgb, bgr) say' if order else ' says'} otherwise"
    )
