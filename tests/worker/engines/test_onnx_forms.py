"""Which of an ONNX file's outputs are the classes, and in which form: each picture gets its own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Sequence

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.worker.engines.graphs import FLOAT, SIDE, Net, opened, softmax
from tests.worker.engines.logits import LOGITS, MEANS, NAMES, PIXELS, SHOWN, logits

FORMS: Dict[str, Callable[[Net, str], str]] = {
    "[N, C, 1, 1]": lambda net, x: net.add("Unsqueeze", x, net.const([2, 3], np.int64)),
    "[N, 1, 1, C]": lambda net, x: net.add("Unsqueeze", x, net.const([1, 2], np.int64)),
    "squeezed": lambda net, x: net.add("Squeeze", net.add("Unsqueeze", x, net.const([2], np.int64))),
    "fixed to one inside": lambda net, x: net.add("Reshape", x, net.const([1, 3], np.int64)),
    "the first of the batch": lambda net, x: net.add("Gather", x, net.const(0, np.int64), axis=0),
    "the batch's mean": lambda net, x: net.add("ReduceMean", x, axes=[0], keepdims=1),
    "doubled": lambda net, x: net.add("Cast", x, to=TensorProto.DOUBLE),
    "halved": lambda net, x: net.add("Cast", x, to=TensorProto.FLOAT16),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("softmaxed", [False, True])
def test_every_form_gives_each_picture_its_own_answer(form: str, softmaxed: bool, tmp_path: Path) -> None:
    net = Net()
    name = FORMS[form](net, logits(net))
    if softmaxed:
        axis = {"[N, C, 1, 1]": 1, "the first of the batch": 0}.get(form, -1)
        name = net.add("Softmax", name, axis=axis)
    dtype = {"doubled": TensorProto.DOUBLE, "halved": TensorProto.FLOAT16}.get(form, FLOAT)
    _, engine = opened(net.give(name, None, dtype).save(tmp_path / "net.onnx"), NAMES, **PIXELS)
    engine.warm_up()
    for number in (4, 3, 1):
        np.testing.assert_allclose(engine.infer(SHOWN[:number]), softmax(LOGITS)[:number], atol=2e-3)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_filled(batch: int, tmp_path: Path) -> None:
    net = Net((batch, 3, SIDE, SIDE))
    path = net.give(logits(net), (batch, 3)).save(tmp_path / "net.onnx")
    _, engine = opened(path, NAMES, **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), softmax(LOGITS), atol=1e-4)


@pytest.mark.parametrize("channels_first", [True, False])
def test_a_file_without_a_batch(channels_first: bool, tmp_path: Path) -> None:
    net = Net((3, SIDE, SIDE) if channels_first else (SIDE, SIDE, 3))
    mean = net.add("ReduceMean", "x", axes=[1, 2] if channels_first else [0, 1], keepdims=0)
    path = net.give(net.add("Mul", mean, net.const(6.0)), (3,)).save(tmp_path / "net.onnx")
    _, engine = opened(path, NAMES, **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), softmax(6 * MEANS), atol=1e-4)


def embedding(net: Net) -> str:
    return str(net.add("MatMul", net.means(), net.const(np.ones((3, 7)))))


def test_the_classes_are_found_among_several_outputs(tmp_path: Path) -> None:
    orders: Sequence[Callable[[Net, str], Sequence[str]]] = [
        lambda net, x: [embedding(net), x],
        lambda net, x: [x, embedding(net)],
        lambda net, x: [x, net.add("Softmax", x, axis=1)],
        lambda net, x: [net.add("ArgMax", x, axis=1, keepdims=0), x],
    ]
    for order in orders:
        net = Net()
        for name in order(net, logits(net)):
            argmax = any(node.op_type == "ArgMax" and name in node.output for node in net.nodes)
            net.give(name, None, TensorProto.INT64 if argmax else FLOAT)
        model, engine = opened(net.save(tmp_path / "net.onnx"), NAMES, **PIXELS)
        np.testing.assert_allclose(engine.infer(SHOWN), softmax(LOGITS), atol=1e-4)
        assert model.assumed == ()


def test_an_embedding_that_the_classes_are_made_of_is_not_taken_for_them(tmp_path: Path) -> None:
    net = Net()
    inner = embedding(net)
    outer = net.add("MatMul", inner, net.const(np.eye(7, 1000)))
    path = net.give(inner).give(outer).save(tmp_path / "net.onnx")
    model, engine = opened(path, **PIXELS)
    assert len(model.classes) == engine.infer(SHOWN).shape[1] == 1000


def test_of_outputs_that_are_alike_it_is_said_which_was_taken(tmp_path: Path) -> None:
    net = Net()
    first = logits(net)
    net.give(first).give(net.add("Mul", net.means(), net.const(-6.0)))
    model, engine = opened(net.save(tmp_path / "net.onnx"), NAMES, **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), softmax(LOGITS), atol=1e-4)
    assert any(f"{first} was taken" in sentence for sentence in model.assumed)


@pytest.mark.parametrize("labels", [("x", "y", "z"), (0, 1, 2), (3, 5, 9)])
def test_maps_as_scikit_learns_classifiers_give_them(labels: Sequence[Any], tmp_path: Path) -> None:
    net = Net()
    scores = net.add("Softmax", logits(net), axis=1)
    named = isinstance(labels[0], str)
    keys = {"classlabels_strings" if named else "classlabels_int64s": labels}
    best = net.add("ArgMax", scores, axis=1, keepdims=0)
    maps = net.add("ZipMap", scores, **keys)
    net.nodes[-1].domain = "ai.onnx.ml"
    net.give(best, ("N",), TensorProto.INT64)
    value = helper.make_tensor_type_proto(FLOAT, [])
    kind = helper.make_map_type_proto(TensorProto.STRING if named else TensorProto.INT64, value)
    net.outputs.append(helper.make_value_info(maps, helper.make_sequence_type_proto(kind)))
    path = net.save(tmp_path / "net.onnx")
    model, engine = opened(path, () if labels != (0, 1, 2) else NAMES, **PIXELS)
    assert model.classes == (NAMES if labels == (0, 1, 2) else tuple(map(str, labels)))
    for number in (4, 1):
        np.testing.assert_allclose(engine.infer(SHOWN[:number]), softmax(LOGITS)[:number], atol=1e-4)
