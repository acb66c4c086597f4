"""An ONNX graph to look things up in: what makes a value, and what is constant."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Elements of a constant that is looked at: means, deviations, indices and shapes are small.
_SMALL = 4096

_FOLDED: Dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "Sqrt": np.sqrt,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Reshape": lambda array, shape: array.reshape([int(side) for side in shape]),
    "Squeeze": lambda array, *_: np.squeeze(array),
    "Identity": lambda array: array,
    "Cast": lambda array: array,
}


class Node(NamedTuple):
    """An operator."""

    op: str
    inputs: List[str]
    outputs: List[str]
    attributes: Dict[str, Any]


class Graph:
    """The nodes of a model, with its functions inlined."""

    def __init__(self, model: Any) -> None:
        """Read a model's nodes.

        Args:
            model: a ModelProto, with its external data taken in.
        """
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._constants: Dict[str, Optional[Array]] = {}
        self.nodes = [_node(node) for node in model.graph.node]
        self.metadata: Dict[str, str] = {entry.key: entry.value for entry in model.metadata_props}
        self._producers = {name: node for node in _all_nodes(model.graph) for name in node.outputs if name}

    def producer(self, name: str) -> Optional[Node]:
        """The node that makes a value, also in the branches of an If; None for inputs and initializers."""
        return self._producers.get(name)

    def is_constant(self, name: str) -> bool:
        """Whether a value is an initializer, or the output of a Constant."""
        node = self.producer(name)
        return name in self._initializers or (node is not None and node.op == "Constant")

    def shape(self, name: str) -> Optional[List[int]]:
        """The shape of an initializer, however large."""
        tensor = self._initializers.get(name)
        return None if tensor is None else [int(side) for side in tensor.dims]

    def constant(self, name: str) -> Optional[Array]:
        """A small constant: an initializer, a Constant, or what is computed of nothing else."""
        if name not in self._constants:
            self._constants[name] = None  # while it is looked for: a circle ends here
            self._constants[name] = self._constant(name)
        return self._constants[name]

    def _constant(self, name: str) -> Optional[Array]:
        if name in self._initializers:
            return self._array(self._initializers[name])
        node = self.producer(name)
        if node is None:
            return None
        if node.op == "Constant":
            return self._of_constant(node)
        values = [self.constant(each) for each in node.inputs if each]
        if not values or any(value is None for value in values):
            return None
        if node.op == "DequantizeLinear":
            return _dequantized(values)
        if node.op == "Unsqueeze":
            return _unsqueezed(node, values)
        if node.op not in _FOLDED:
            return None
        with np.errstate(all="ignore"):
            try:
                return np.asarray(_FOLDED[node.op](*values))
            except (TypeError, ValueError):  # shapes that do not fit: onnxruntime has its say on those
                return None

    def _of_constant(self, node: Node) -> Optional[Array]:
        for name, value in node.attributes.items():
            if name == "value":
                return self._array(value)
            if name in ("value_float", "value_int", "value_floats", "value_ints"):
                return np.asarray(value)
        return None

    def _array(self, tensor: Any) -> Optional[Array]:
        from onnx import numpy_helper

        if int(np.prod(tensor.dims)) > _SMALL:
            return None
        array = np.asarray(numpy_helper.to_array(tensor))
        return array.astype(np.float64) if array.dtype.kind == "f" or array.dtype.kind == "V" else array


def _dequantized(values: List[Any]) -> Optional[Array]:
    number, scale, *zero = values
    if scale.size > 1:  # one for each channel: of weights, which nobody looks at
        return None
    array: Array = (np.asarray(number, np.float64) - (zero[0] if zero else 0)) * scale
    return array


def _unsqueezed(node: Node, values: List[Any]) -> Array:
    axes = node.attributes.get("axes") if len(values) < 2 else values[1]
    array: Array = values[0]
    for axis in sorted(int(axis) for axis in np.ravel(axes if axes is not None else [])):
        array = np.expand_dims(array, axis)
    return array


def _node(proto: Any) -> Node:
    from onnx import helper

    attributes = {
        each.name: helper.get_attribute_value(each) for each in proto.attribute if not each.ref_attr_name
    }
    return Node(proto.op_type, list(proto.input), list(proto.output), attributes)


def _all_nodes(graph: Any) -> Iterator[Node]:
    for proto in graph.node:
        yield _node(proto)
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g)
