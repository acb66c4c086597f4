"""Operators on values that are affine in a graph's input, channel by channel."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from worker.engines.onnx.graph.nodes import Graph, Node

Values = NDArray[np.float64]


class Affine(NamedTuple):
    """A value that is scale * x + shift of the input's x, channel by channel."""

    #: float64 [channels], as are the shifts.
    scale: Values
    shift: Values
    #: Of each channel, which of the input's it is.
    source: Tuple[int, ...]
    #: Which dimension the channels are; None where there is one channel and none of its own.
    axis: Optional[int]
    rank: int
    #: Whether pixels have been averaged: what follows may be the network itself.
    pooled: bool = False


#: Gets the values that are known, by name; gives None for an output that is not affine.
Step = Callable[[Graph, Node, Dict[str, Affine]], Sequence[Optional[Affine]]]


def _same(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    return [known.get(node.inputs[0])]


def _pool(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    return [known[node.inputs[0]]._replace(pooled=True)]


def _dequantize(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    value, producer = known.get(node.inputs[0]), graph.producer(node.inputs[0])
    if value is None or (producer is not None and producer.op == "QuantizeLinear"):
        return [value]  # back to what it was
    scale = graph.constant(node.inputs[1])
    zero = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    if scale is None or zero is None or scale.size != 1:
        return [None]
    size = float(np.ravel(scale)[0])
    point = float(np.ravel(zero)[0])
    return [value._replace(scale=value.scale * size, shift=(value.shift - point) * size)]


def _arithmetic(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    left = known.get(node.inputs[0])
    value = left or known.get(node.inputs[1])
    constant = graph.constant(node.inputs[1 if left else 0])
    if value is None or constant is None:
        return [None]
    each = _per_channel(constant, value)
    if each is None or (node.op == "Div" and (left is None or not each.all())):
        return [None]
    if node.op == "Add":
        return [value._replace(shift=value.shift + each)]
    if node.op == "Sub":
        if left:
            return [value._replace(shift=value.shift - each)]
        return [value._replace(scale=-value.scale, shift=each - value.shift)]
    if node.op == "Div":
        each = 1 / each
    return [value._replace(scale=value.scale * each, shift=value.shift * each)]


def _per_channel(constant: Any, value: Affine) -> Optional[Values]:
    """A constant as float64 [channels], if it is the same for all pixels."""
    if constant.dtype.kind not in "fiu" or constant.ndim > value.rank:
        return None
    if constant.size == 1:
        return np.full(len(value.scale), float(np.ravel(constant)[0]))
    shape = (1,) * (value.rank - constant.ndim) + constant.shape
    if value.axis is None or shape[value.axis] != len(value.scale) or constant.size != len(value.scale):
        return None
    return np.ravel(constant).astype(np.float64)


def _batch_norm(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    value = known.get(node.inputs[0])
    gamma, beta, mean, variance = (graph.constant(each) for each in node.inputs[1:5])
    if value is None or gamma is None or beta is None or mean is None or variance is None:
        return [None]
    if value.axis != 1 or gamma.size != len(value.scale):
        return [None]
    scale = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return [value._replace(scale=value.scale * scale, shift=(value.shift - mean) * scale + beta)]


def _transpose(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    value = known[node.inputs[0]]
    order = list(node.attributes.get("perm", range(value.rank)[::-1]))
    if value.axis is None:
        return [value]
    return [value._replace(axis=order.index(value.axis)) if value.axis in order else None]


def _mean(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    axes = _axes(graph, node)
    value = known.get(node.inputs[0])
    if value is None or axes is None:
        return [None]
    value = value._replace(pooled=True)
    return [_without(value, axes) if not node.attributes.get("keepdims", 1) else _checked(value, axes)]


def _squeeze(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    axes = _axes(graph, node)
    value = known.get(node.inputs[0])
    return [None if value is None or axes is None else _without(value, axes)]


def _unsqueeze(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    axes = _axes(graph, node)
    value = known.get(node.inputs[0])
    if value is None or axes is None:
        return [None]
    rank = value.rank + len(axes)
    new = {axis % rank for axis in axes}
    old = [axis for axis in range(rank) if axis not in new]
    # A channel that was gathered alone gets a dimension of its own again.
    axis = old[value.axis] if value.axis is not None else min(new)
    return [value._replace(axis=axis, rank=rank)]


def _axes(graph: Graph, node: Node) -> Optional[List[int]]:
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        axes = graph.constant(node.inputs[1])
    return None if axes is None else [int(axis) for axis in np.ravel(axes)]


def _checked(value: Affine, axes: List[int]) -> Optional[Affine]:
    return None if value.axis in {axis % value.rank for axis in axes} else value


def _without(value: Affine, axes: List[int]) -> Optional[Affine]:
    gone = {axis % value.rank for axis in axes}
    if value.axis in gone:
        return None
    axis = None if value.axis is None else value.axis - sum(each < value.axis for each in gone)
    return value._replace(axis=axis, rank=value.rank - len(gone))


def _picked(value: Affine, channels: Sequence[int]) -> Affine:
    chosen = list(channels)
    return value._replace(
        scale=value.scale[chosen],
        shift=value.shift[chosen],
        source=tuple(value.source[channel] for channel in chosen),
    )


def _split(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    value = known[node.inputs[0]]
    if node.attributes.get("axis", 0) % value.rank != value.axis or len(node.outputs) != len(value.scale):
        return []
    return [_picked(value, [channel]) for channel in range(len(value.scale))]


def _gather(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    value, indices = known.get(node.inputs[0]), graph.constant(node.inputs[1])
    if value is None or indices is None or indices.ndim > 1:
        return [None]
    if node.attributes.get("axis", 0) % value.rank != value.axis:
        return [None]
    count = len(value.scale)
    if any(not -count <= index < count for index in np.ravel(indices)):
        return [None]
    picked = _picked(value, [int(index) for index in np.ravel(indices)])
    return [picked if indices.ndim else picked._replace(axis=None, rank=value.rank - 1)]


def _slice(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    value = known.get(node.inputs[0])
    given = [graph.constant(each) if each else None for each in node.inputs[1:]]
    if value is None or len(given) < 3 or any(each is None or each.size != 1 for each in given):
        return [None]
    start, end, axis, *step = [int(np.ravel(np.asarray(each))[0]) for each in given]
    if axis % value.rank != value.axis:
        return [value]  # a part of the picture
    # As ONNX has it, and as Python has it: an end before the first one, backwards, is None.
    count = len(value.scale)
    backwards = bool(step) and step[0] < 0
    stop = None if backwards and end < -count else end
    chosen = range(count)[slice(start, stop, step[0] if step else 1)]
    return [_picked(value, chosen) if len(chosen) else None]


def _concat(graph: Graph, node: Node, known: Dict[str, Affine]) -> List[Optional[Affine]]:
    parts = [known.get(each) for each in node.inputs]
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        return [None]
    axis = node.attributes["axis"] % whole[0].rank
    if any(part.axis != axis for part in whole):
        return [None]
    return [
        Affine(
            np.concatenate([part.scale for part in whole]),
            np.concatenate([part.shift for part in whole]),
            tuple(channel for part in whole for channel in part.source),
            axis,
            whole[0].rank,
            whole[0].pooled,
        )
    ]


#: By operator; what is not here ends the way.
STEPS: Dict[str, Step] = {
    **dict.fromkeys(("Identity", "Cast", "Dropout", "QuantizeLinear", "Pad", "Resize", "Upsample"), _same),
    **dict.fromkeys(("GlobalAveragePool", "AveragePool", "MaxPool", "GlobalMaxPool"), _pool),
    "Clip": _same,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "DequantizeLinear": _dequantize,
    "BatchNormalization": _batch_norm,
    "Transpose": _transpose,
    "ReduceMean": _mean,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Split": _split,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
}
