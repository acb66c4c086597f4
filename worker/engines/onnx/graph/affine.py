"""A graph's first operators on its pixels: a multiply-add for each channel, followed forward.

input ──> Transpose, Cast, Sub, Mul, BatchNormalization, Split, Concat, means ──> anything else: the end
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from worker.engines.onnx.graph.nodes import Graph, Node
from worker.engines.onnx.graph.steps import STEPS, Affine


class Walk(NamedTuple):
    """The affine values that were found from the input on."""

    #: Each value that is affine in the input, in the graph's order; the input itself is not among them.
    affine: List[Affine]
    #: Smallest and largest x of the input that its first QuantizeLinear keeps, where it has one.
    quantized: Optional[Tuple[float, float, bool]]


def follow(graph: Graph, name: str, channels: int, axis: int, rank: int) -> Walk:
    """All that is affine in an input.

    Args:
        graph: the model's.
        name: of the input.
        channels: how many it has.
        axis: which of its dimensions they are.
        rank: how many dimensions it has.
    """
    first = Affine(np.ones(channels), np.zeros(channels), tuple(range(channels)), axis, rank)
    known: Dict[str, Affine] = {name: first}
    found: List[Affine] = []
    quantized = None
    for node in graph.nodes:
        used = [known[each] for each in node.inputs if each in known]
        if not used:
            continue
        if node.op == "QuantizeLinear" and quantized is None and not found:
            quantized = _kept(graph, node)
        step = STEPS.get(node.op)
        for output, value in zip(node.outputs, step(graph, node, known) if step else ()):
            if value is not None:
                known[output] = value
                if not _is_same(value, used[0]):
                    found.append(value)
    return Walk(found, quantized)


def _is_same(one: Affine, other: Affine) -> bool:
    return np.array_equal(one.scale, other.scale) and np.array_equal(one.shift, other.shift)


def _kept(graph: Graph, node: Node) -> Optional[Tuple[float, float, bool]]:
    scale = graph.constant(node.inputs[1])
    zero = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1, np.uint8)
    if scale is None or zero is None or scale.size != 1:
        return None
    signed = zero.dtype == np.int8
    low, high = (-128, 127) if signed else (0, 255)
    point = float(np.ravel(zero)[0])
    size = float(np.ravel(scale)[0])
    return (low - point) * size, (high - point) * size, signed and point == 0
