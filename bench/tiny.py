"""A classifier that costs nothing, so that what is measured is the transport.

uint8 [N, 64, 64, 3] -> mean of each channel -> x 3x10 -> softmax
"""

from __future__ import annotations

from pathlib import Path
from typing import List

import numpy as np

CLASSES = 10
SIDE = 64


def write_tiny(folder: Path) -> List[str]:
    """Write the model and its labels, and return the worker's flags for them."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    weights = np.random.default_rng(0).normal(0, 0.1, (3, CLASSES)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "sides"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "sides"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    file, labels = folder / "tiny.onnx", folder / "tiny.txt"
    save(model, str(file))
    labels.write_text("".join(f"class {number}\n" for number in range(CLASSES)), encoding="utf-8")
    return ["--model", str(file), "--labels", str(labels)]
