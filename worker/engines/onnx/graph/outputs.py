"""A graph's last operators, which say what its outputs are: probabilities of which kind, or logits.

... ──> MatMul ──> Softmax ──> QuantizeLinear ──> Reshape ──> output       read backward from the output
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np

from worker.engines.onnx.graph.nodes import Graph, Node

#: The kinds of values: `softmax` and `sigmoid` have been through it, `log_softmax` is its logarithm, `logits`
#: have been through none.
_SOFTMAX, _SIGMOID, _LOG, _LOGITS = "softmax", "sigmoid", "log_softmax", "logits"

#: Change neither the values nor their order.
_PASS = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Transpose", "Dropout"),
    *("QuantizeLinear", "DequantizeLinear", "ZipMap", "CastMap", "Clip", "Slice", "Expand", "CastLike"),
    *(
        "ArrayFeatureExtractor",
        "Gather",
        "Min",
        "Max",
        "SequenceConstruct",
        "SequenceAt",
        "OptionalGetElement",
    ),
}
#: Average what they get: of logits they make logits, of probabilities probabilities.
_MEANS = {"ReduceMean", "GlobalAveragePool", "AveragePool", "QLinearGlobalAveragePool", "QLinearAveragePool"}
#: Give any numbers: what comes out of them has still to be made a probability.
_FREE = {
    *("Gemm", "MatMul", "Conv", "BatchNormalization", "LayerNormalization", "Neg"),
    *("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "MatMulInteger", "ConvInteger", "MatMulNBits"),
    *("FusedGemm", "FusedMatMul", "FusedConv", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "Einsum"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "HardSwish", "Mish", "Softplus"),
    *("ReduceMax", "ReduceSum", "GlobalMaxPool", "MaxPool", "InstanceNormalization", "GroupNormalization"),
    *("ConvTranspose", "LpNormalization", "SimplifiedLayerNormalization", "ReduceL2", "LinearRegressor"),
}
_ENDS: Dict[str, str] = {
    **dict.fromkeys(("Softmax", "QLinearSoftmax"), _SOFTMAX),
    **dict.fromkeys(("Sigmoid", "QLinearSigmoid", "HardSigmoid"), _SIGMOID),
    "LogSoftmax": _LOG,
    **dict.fromkeys(_FREE, _LOGITS),
}
#: Of the classifiers of ai.onnx.ml, by their attribute post_transform.
_TRANSFORMS = {b"SOFTMAX": _SOFTMAX, b"LOGISTIC": _SIGMOID}
_CLASSIFIERS = {"LinearClassifier", "TreeEnsembleClassifier", "SVMClassifier"}
#: Operators with the scale and the zero point of what they give among their inputs: where that is.
_QUANTIZED = {"QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7, "QLinearAdd": 6}
_QUANTIZED.update(dict.fromkeys(("QLinearSoftmax", "QLinearSigmoid", "QLinearGlobalAveragePool"), 3))


class Ending(NamedTuple):
    """The kind of an output's values, and how they are kept."""

    #: `softmax`, `sigmoid`, `log_softmax`, `logits`; None where the graph does not say.
    values: Optional[str]
    #: Scale and zero point of integers.
    quantized: Optional[Tuple[float, float]]
    #: Of an output that is a map for each image: its keys, in the order of the columns they were made of.
    keys: Tuple[Union[str, int], ...] = ()


def ending_of(graph: Graph, output: str) -> Ending:
    """Read an output of the graph backward."""
    return Ending(_Reader(graph).values(output), _scale(graph, output), _zip_keys(graph, output))


def is_made_of(graph: Graph, output: str, other: str) -> bool:
    """Whether an output is computed from another one."""
    seen: Set[str] = set()
    pending = [output]
    while pending:
        node = graph.producer(pending.pop())
        for name in node.inputs if node else ():
            if name == other:
                return True
            if name not in seen:
                seen.add(name)
                pending.append(name)
    return False


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: Dict[str, Optional[str]] = {}

    def values(self, name: str) -> Optional[str]:
        """The kind of a value; None where that cannot be known."""
        path = []
        while name not in self._known:
            self._known[name] = None  # while it is looked for: a circle ends here
            path.append(name)
            node = self._graph.producer(name)
            if node is None:  # an input of the graph: nothing has made probabilities of it
                self._known[name] = _LOGITS if name else None
                break
            if node.op not in _PASS:
                self._known[name] = self._of_node(node, name)
                break
            name = next((each for each in node.inputs if not self._is_constant(each)), "")
        found = self._known.get(name)
        self._known.update(dict.fromkeys(path, found))
        return found

    def _is_constant(self, name: str) -> bool:
        return not name or self._graph.is_constant(name) or self._graph.constant(name) is not None

    def _of_node(self, node: Node, name: str) -> Optional[str]:
        if node.op in _CLASSIFIERS:
            return _of_classifier(node)
        if node.op in _MEANS:
            values = self.values(node.inputs[0])
            return None if values == _LOG else values
        if node.op == "Concat":
            return self._of_concat(node)
        if node.op == "If":
            which = node.outputs.index(name)
            return self._alike([each.output[which].name for each in node.attributes.values()])
        if node.op == "Normalizer":
            return _SOFTMAX if node.attributes.get("norm") == b"L1" else None
        if node.op in ("Add", "Sub", "Mul", "Div", "Log"):
            return self._of_arithmetic(node)
        return _ENDS.get(node.op)

    def _alike(self, names: Sequence[str]) -> Optional[str]:
        kinds = {self.values(each) for each in names}
        return kinds.pop() if len(kinds) == 1 else None

    def _of_concat(self, node: Node) -> Optional[str]:
        parts = [each for each in node.inputs if not self._is_constant(each)]
        values = self._alike(parts)
        if values == _SIGMOID and any(self._is_rest(each) for each in parts):
            return _SOFTMAX  # p and 1 - p are two classes of which one is true
        return values

    def _is_rest(self, name: str) -> bool:
        """Whether a value is 1 - p."""
        node = self._graph.producer(name)
        while node is not None and node.op in _PASS:
            node = self._graph.producer(node.inputs[0])
        return node is not None and node.op == "Sub" and self._is_constant(node.inputs[0])

    def _of_arithmetic(self, node: Node) -> Optional[str]:
        variable = [each for each in node.inputs if not self._is_constant(each)]
        below = [self.values(each) for each in variable]
        if node.op == "Log":
            return _LOG if below == [_SOFTMAX] else None
        if node.op == "Div" and _is_share(self._graph, *node.inputs):
            return _SOFTMAX
        if node.op == "Div" and variable == [node.inputs[1]]:
            return None  # the reciprocal of something, as of 1 + exp(-x)
        if node.op == "Sub" and below == [_SIGMOID] and variable == [node.inputs[1]]:
            one = self._graph.constant(node.inputs[0])
            return _SIGMOID if one is not None and np.all(one == 1) else None  # 1 - p
        # Of logits come logits; of probabilities anything.
        return _LOGITS if set(below) == {_LOGITS} else None


def _of_classifier(node: Node) -> Optional[str]:
    """A classifier that transforms nothing gives votes, or shares of them: the values tell which."""
    values = _TRANSFORMS.get(bytes(node.attributes.get("post_transform", b"NONE")))
    labels = node.attributes.get("classlabels_strings") or node.attributes.get("classlabels_int64s")
    labels = labels or node.attributes.get("classlabels_ints") or ()
    return _SOFTMAX if values == _SIGMOID and len(labels) == 2 else values  # [1 - p, p]


def _is_share(graph: Graph, part: str, whole: str) -> bool:
    """Whether something is divided by its own sum, as where a softmax is written out."""
    node = graph.producer(whole)
    while node is not None and node.op in (
        "Identity",
        "Unsqueeze",
        "Reshape",
        "Cast",
        "Expand",
        "Max",
        "Add",
    ):
        node = graph.producer(node.inputs[0])
    if node is None or node.op not in ("ReduceSum", "ReduceL1"):
        return False
    made = graph.producer(part)
    return part == node.inputs[0] and made is not None and made.op in ("Exp", "Relu", "Softplus", "Abs")


def _scale(graph: Graph, name: str) -> Optional[Tuple[float, float]]:
    while True:
        node = graph.producer(name)
        if node is None:
            return None
        if node.op in _QUANTIZED:
            return _read_scale(graph, node, _QUANTIZED[node.op])
        if node.op not in ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"):
            return None
        name = node.inputs[0]


def _read_scale(graph: Graph, node: Node, at: int) -> Optional[Tuple[float, float]]:
    scale = graph.constant(node.inputs[at]) if len(node.inputs) > at else None
    given = len(node.inputs) > at + 1 and node.inputs[at + 1]
    zero: Any = graph.constant(node.inputs[at + 1]) if given else np.zeros(1)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return float(np.ravel(scale)[0]), float(np.ravel(zero)[0])


def _zip_keys(graph: Graph, name: str) -> Tuple[Union[str, int], ...]:
    node = graph.producer(name)
    if node is None or node.op != "ZipMap":
        return ()
    keys = node.attributes.get("classlabels_strings") or node.attributes.get("classlabels_int64s") or ()
    return tuple(each.decode("utf-8", "replace") if isinstance(each, bytes) else int(each) for each in keys)
