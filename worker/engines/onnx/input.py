"""The input of a file: its channels and their place, its type, its size, and how many images at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from wire.errors import SettingsError
from worker.engines.onnx.graph.nodes import Graph

_TYPES: Dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_WANTED = "one batch of images: [N, 3, H, W] or [N, H, W, 3] (or 1 channel for gray), floats or bytes"


class Input(NamedTuple):
    """The input of a file; None for a dimension that it leaves open."""

    name: str
    dtype: Any
    channels: int
    channels_first: bool
    #: Whether there is a dimension for the batch at all.
    batched: bool
    batch: Optional[int]
    height: Optional[int]
    width: Optional[int]

    @property
    def takes_bytes(self) -> bool:
        """Whether the pixels go in as they are."""
        return bool(np.dtype(self.dtype).kind in "iu")

    def prepared(self, batch: NDArray[np.uint8], scale: NDArray[Any], shift: NDArray[Any]) -> NDArray[Any]:
        """uint8 [N, H, W, C] as the file wants it."""
        images: NDArray[Any] = batch
        if self.dtype == np.int8:
            images = batch.astype(np.int16) - 128  # as TensorFlow Lite has it: black is the lowest
        elif not self.takes_bytes:
            images = batch * scale + shift
        if self.channels_first:
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images, self.dtype)


def input_of(path: Path, session: Any, graph: Graph) -> Input:
    """Read the input of a file.

    Raises:
        SettingsError: something else than images of one or three channels.
    """
    only, said = _only_input(path, session.get_inputs())
    shape: List[Optional[int]] = [side if isinstance(side, int) and side > 0 else None for side in only.shape]
    _check_form(said, only.type, len(shape))
    sides = shape[-3:]
    first, counted = _channels_first(sides), None
    if first is None:
        first, counted = _layout_in(graph, only.name, sides)
    if first is None:
        raise SettingsError(
            f"{said}, which does not tell where the channels are: export it with 3 (or 1) fixed"
        )
    channels = (sides[0] if first else sides[2]) or counted
    if channels not in (1, 3):
        what = "images with transparency, or of four channels" if channels == 4 else f"{channels} channels"
        raise SettingsError(
            f"{said}: {what}, and cameras' pictures have 3. Train it on RGB, or export it with the other "
            "channels computed within"
        )
    height, width = sides[1:] if first else sides[:2]
    batched = len(shape) == 4
    batch = shape[0] if batched else 1
    return Input(only.name, _TYPES[only.type], channels, first, batched, batch, height, width)


def _only_input(path: Path, inputs: List[Any]) -> Tuple[Any, str]:
    """The input of a file that has one, and what the file takes, as the begin of a sentence."""
    described = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs) or "nothing"
    said = f"{path} takes {described}"
    if len(inputs) != 1:
        raise SettingsError(
            f"{said}, and not {_WANTED}. Export the part that classifies one image, with "
            "the other inputs as constants (of Keras, by way of a SavedModel: model.export(FOLDER), and "
            "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx)"
        )
    return inputs[0], said


def _check_form(said: str, type_of_number: str, dimensions: int) -> None:
    """See that an input may be a batch of images, or one image.

    Raises:
        SettingsError: it is something else.
    """
    if type_of_number in _TYPES and dimensions in (3, 4):
        return
    hint = ""
    if dimensions == 2:
        hint = (
            ". Each image is one row of numbers there: put a Reshape before it, so that it takes "
            "[N, H, W, C] (onnx.compose.merge_models), or export it with its flattening"
        )
    elif type_of_number not in _TYPES:
        hint = ". Export it without the part that decodes or tokenizes, or in float32"
    raise SettingsError(f"{said}, and not {_WANTED}{hint}")


def _channels_first(sides: List[Optional[int]]) -> Optional[bool]:
    """By the dimension that is as short as channels are."""
    for counts in ((3,), (1,), (4, 2)):
        if sides[0] in counts:
            return True
        if sides[2] in counts:
            return False
    if sides[0] is not None and sides[2] is None and sides[0] < 16:
        return True
    if sides[2] is not None and sides[2] < 16 and (sides[0] is None or sides[0] > sides[2]):
        return False
    return True if sides[0] is not None and sides[0] < 16 else None


def _layout_in(graph: Graph, name: str, sides: List[Optional[int]]) -> Tuple[Optional[bool], Optional[int]]:
    """By the first operator that knows: a convolution has the channels first, and tells their number."""
    first = True
    for node in graph.nodes:
        if name not in node.inputs:
            continue
        if node.op == "Transpose" and list(node.attributes.get("perm", ())) == [0, 3, 1, 2]:
            first, name = False, node.outputs[0]
        elif node.op == "Conv" and node.inputs[0] == name:
            weights = graph.shape(node.inputs[1])
            return (first, weights[1] * int(node.attributes.get("group", 1))) if weights else (None, None)
        elif (
            node.op in ("Cast", "Identity", "Sub", "Add", "Mul", "Div", "Pad", "DequantizeLinear")
            or node.op == "QuantizeLinear"
        ):
            name = node.outputs[0]
    return None, None


def noise_images(shape: Tuple[int, int, int]) -> NDArray[np.uint8]:
    """uint8 [2, H, W, C]: seeded, and unlike each other in colour and in brightness."""
    noise = np.random.default_rng(0).random((2, *shape))
    tint = np.array([[1.0, 0.5, 0.1], [0.2, 0.4, 0.9]])[:, None, None, : shape[2]]
    pictures: NDArray[np.uint8] = (noise * tint * 255).astype(np.uint8)
    return pictures
