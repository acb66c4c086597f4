"""ONNX files of a few hundred bytes that would keep whoever runs them busy for ever, or take all memory."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict

import numpy as np
from onnx import TensorProto, helper

from tests.worker.engines.graphs import FLOAT, Net

#: Floats of 8 GB.
MANY = 1 << 31


def endless(path: Path) -> Path:
    """A Loop whose condition stays true."""
    net = Net()
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, ["N", 3]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", FLOAT, ["N", 3]),
        ],
    )
    return net.give(net.add("Loop", "", net.const(True, bool), net.means(), body=body)).save(path)


def constant(path: Path) -> Path:
    """Gigabytes from a constant, which onnxruntime may fold while it loads."""
    net = Net()
    many = net.add("ConstantOfShape", net.const([MANY], np.int64))
    return net.give(net.add("Mul", net.means(), net.add("ReduceMax", many, keepdims=0))).save(path)


def expanded(path: Path) -> Path:
    """Gigabytes from the image."""
    net = Net()
    means = net.means()
    many = net.add("Expand", net.add("ReduceMean", means, keepdims=0), net.const([MANY], np.int64))
    return net.give(net.add("Mul", means, net.add("ReduceMax", many, keepdims=0))).save(path)


def of_two(path: Path) -> Path:
    """Gigabytes from two images at once, and nothing from one."""
    net = Net()
    means = net.means()
    images = net.add("Slice", net.add("Shape", "x"), net.const([0], np.int64), net.const([1], np.int64))
    many = net.add(
        "Expand", net.add("ReduceMean", means, keepdims=0), net.add("Pow", images, net.const([31]))
    )
    return net.give(net.add("Mul", means, net.add("ReduceMax", many, keepdims=0))).save(path)


GREEDY: Dict[str, Callable[[Path], Path]] = {"constant": constant, "expanded": expanded, "of two": of_two}
