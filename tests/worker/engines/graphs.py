"""ONNX graphs, written node by node: a few bytes each, and the same with any release of onnx."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from wire.model_choice import ModelChoice
from worker.engines.base import Engine
from worker.engines.select import open_model
from worker.models.info import Model

SIDE = 16
FLOAT = TensorProto.FLOAT


class Net:
    """A graph that grows by its nodes."""

    def __init__(self, shape: Sequence[Any] = ("N", 3, SIDE, SIDE), dtype: int = FLOAT) -> None:
        self.inputs = [helper.make_tensor_value_info("x", dtype, shape)]
        self.outputs: List[Any] = []
        self.nodes: List[Any] = []
        self.initializers: List[Any] = []
        self.metadata: Dict[str, str] = {}
        self.functions: List[Any] = []

    def const(self, values: Any, dtype: Any = np.float32) -> str:
        """An initializer."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name, or the names, of what it gives."""
        names = [f"v{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def give(self, name: str, shape: Optional[Sequence[Any]] = ("N", "C"), dtype: int = FLOAT) -> Net:
        """Make a value an output."""
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return self

    def means(self, name: str = "x", channels_first: bool = True) -> str:
        """[N, channels]: the mean of each."""
        return str(self.add("ReduceMean", name, axes=[2, 3] if channels_first else [1, 2], keepdims=0))

    def proto(self) -> ModelProto:
        """The model."""
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        opsets.append(helper.make_opsetid("com.microsoft", 1))
        model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        helper.set_model_props(model, self.metadata)
        return model

    def save(self, path: Path) -> Path:
        """Write the model."""
        path.write_bytes(self.proto().SerializeToString())
        return path


def opened(path: Path, names: Sequence[str] = (), **fields: Any) -> Tuple[Model, Engine]:
    """Open a file as a worker does, with class names."""
    if names:
        labels = path.with_name("labels.txt")
        labels.write_text("\n".join(names), encoding="utf-8")
        fields["labels"] = labels
    choice = ModelChoice(model=str(path), **fields)
    return open_model(choice, engine="auto", device="cpu", max_batch=4, weights_dir=path.parent)


def slow_model(folder: Path, scale: float = 4) -> Sequence[str]:
    """Write a model that takes long enough for engines to be compared; a worker's flags for it.

    Args:
        folder: where it is written.
        scale: by how much the sides of its pictures are enlarged first.
    """
    net = Net()
    wide = net.add("Resize", "x", "", net.const([1.0, 1.0, scale, scale]), mode="nearest")
    for weights in ((64, 3), (64, 64), (3, 64)):
        wide = net.add("Conv", wide, net.const(np.full((*weights, 3, 3), 1e-4)), pads=[1, 1, 1, 1])
    path = net.give(net.add("Softmax", net.means(wide), axis=1)).save(folder / "slow.onnx")
    (folder / "labels.txt").write_text("a\nb\nc", encoding="utf-8")
    pin = hashlib.sha256(path.read_bytes()).hexdigest()
    return ("--model", str(path), "--labels", str(folder / "labels.txt"), "--sha256", pin)


def pictures(number: int, channels: int = 3, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    """uint8 [number, height, width, channels]: each of another colour, with some noise."""
    random = np.random.default_rng(7)
    colours = random.integers(0, 256, (number, 1, 1, channels))
    noise = random.integers(-20, 21, (number, height, width, channels))
    found: NDArray[np.uint8] = (colours + noise).clip(0, 255).astype(np.uint8)
    return found


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """[N, C], in float64."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: NDArray[Any] = powers / powers.sum(1, keepdims=True)
    return shares


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Of each number."""
    found: NDArray[Any] = 1 / (1 + np.exp(-logits))
    return found
