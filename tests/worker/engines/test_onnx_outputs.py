"""What an ONNX file gives: logits or probabilities, of one class or of several, in any of the usual forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from PIL import Image

from fleet.classify import classify
from tests.worker.engines.graphs import FLOAT, SIDE, Net, opened, sigmoid, softmax
from tests.worker.engines.logits import LOGITS, NAMES, PIXELS, SHOWN, logits
from wire.errors import SettingsError
from worker.settings import ClassifySettings


def written_out(net: Net, name: str) -> str:
    powers = net.add("Exp", name)
    return str(net.add("Div", powers, net.add("ReduceSum", powers, net.const([1], np.int64))))


def quantised(kind: Any, scale: float, zero: int) -> Callable[[Net, str], str]:
    def build(net: Net, name: str) -> str:
        return str(net.add("QuantizeLinear", name, net.const(scale), net.const(zero, kind)))

    return build


def log(probabilities: NDArray[Any]) -> NDArray[Any]:
    return np.log(probabilities)


S, G = softmax(LOGITS), sigmoid(LOGITS)
ENDS: Sequence[Any] = [
    # what the graph ends with; how; its probabilities; whether several may be true; the output's type
    ("nothing", lambda net, x: x, S, False, FLOAT),
    ("Softmax", lambda net, x: net.add("Softmax", x, axis=1), S, False, FLOAT),
    ("LogSoftmax", lambda net, x: net.add("LogSoftmax", x, axis=1), S, False, FLOAT),
    ("Sigmoid", lambda net, x: net.add("Sigmoid", x), G, True, FLOAT),
    ("a softmax written out", written_out, S, False, FLOAT),
    ("Softmax, Log", lambda net, x: net.add("Log", net.add("Softmax", x, axis=1)), S, False, FLOAT),
    ("Softmax, Identity", lambda net, x: net.add("Identity", net.add("Softmax", x, axis=1)), S, False, FLOAT),
    (
        "Softmax to uint8",
        lambda net, x: quantised(np.uint8, 1 / 256, 0)(net, net.add("Softmax", x, axis=1)),
        S,
        False,
        TensorProto.UINT8,
    ),
    (
        "Softmax to int8",
        lambda net, x: quantised(np.int8, 1 / 256, -128)(net, net.add("Softmax", x, axis=1)),
        S,
        False,
        TensorProto.INT8,
    ),
    ("logits to int8", quantised(np.int8, 3 / 127, 0), S, False, TensorProto.INT8),
    (
        "Sigmoid to uint8",
        lambda net, x: quantised(np.uint8, 1 / 255, 0)(net, net.add("Sigmoid", x)),
        G,
        True,
        TensorProto.UINT8,
    ),
]


@pytest.mark.parametrize(
    ("end", "right", "several", "dtype"), [row[1:] for row in ENDS], ids=[r[0] for r in ENDS]
)
def test_last_operators_tell(
    end: Callable[[Net, str], str], right: NDArray[Any], several: bool, dtype: int, tmp_path: Path
) -> None:
    net = Net()
    net.give(end(net, logits(net)), dtype=dtype)
    model, engine = opened(net.save(tmp_path / "net.onnx"), NAMES, **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), right, atol=1e-4 if dtype == FLOAT else 1.5e-2)
    assert (model.multi_label, model.assumed) == (several, ())


def test_probabilities_are_left_as_they_are(tmp_path: Path) -> None:
    net = Net()
    # Of int8 with so coarse a scale the parts do not sum to 1, and each is what it is.
    coarse = quantised(np.uint8, 0.1, 0)(net, net.add("Softmax", logits(net), axis=1))
    net.give(coarse, dtype=TensorProto.UINT8)
    _, engine = opened(net.save(tmp_path / "net.onnx"), NAMES, **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), np.rint(softmax(LOGITS) * 10) / 10, atol=1e-3)


def test_activation_overrides_what_is_left_to_do(tmp_path: Path) -> None:
    net = Net()
    path = net.give(logits(net)).save(tmp_path / "net.onnx")
    model, engine = opened(path, NAMES, activation="sigmoid", **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), sigmoid(LOGITS), atol=1e-4)
    assert model.multi_label
    with pytest.raises(SettingsError, match=r"--activation none: .*no probabilities"):
        opened(path, NAMES, activation="none", **PIXELS)


@pytest.mark.parametrize(
    ("done", "asked"), [("Softmax", "sigmoid"), ("Sigmoid", "softmax"), ("LogSoftmax", "sigmoid")]
)
def test_what_is_done_is_not_done_again(done: str, asked: str, tmp_path: Path) -> None:
    net = Net()
    path = net.give(net.add(done, logits(net))).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match=f"--activation {asked}: .* ends with {done} already"):
        opened(path, NAMES, activation=asked, **PIXELS)
    same: Any = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "softmax"}[done]
    expected = sigmoid(LOGITS) if done == "Sigmoid" else softmax(LOGITS)
    np.testing.assert_allclose(
        opened(path, NAMES, activation=same, **PIXELS)[1].infer(SHOWN), expected, atol=1e-4
    )


def test_what_the_graph_does_not_tell_is_seen_in_the_values_and_said(tmp_path: Path) -> None:
    for end, right in (
        (lambda net, x: net.add("Tanh", x), softmax(np.tanh(LOGITS))),
        (lambda net, x: average(net, x), (softmax(LOGITS) + softmax(2 * LOGITS)) / 2),
    ):
        net = Net()
        path = net.give(end(net, logits(net))).save(tmp_path / "net.onnx")
        model, engine = opened(path, NAMES, **PIXELS)
        np.testing.assert_allclose(engine.infer(SHOWN), right, atol=1e-4)
        assert any("does not tell what its outputs are" in each for each in model.assumed)


def average(net: Net, name: str) -> str:
    twice = net.add("Softmax", net.add("Mul", name, net.const(2.0)), axis=1)
    return str(net.add("Mul", net.add("Add", net.add("Softmax", name, axis=1), twice), net.const(0.5)))


def single(net: Net) -> str:
    """[N, 1]: a logit."""
    return str(net.add("MatMul", logits(net), net.const([[1.0], [0.0], [-1.0]])))


ONE = LOGITS[:, :1] - LOGITS[:, 2:]


@pytest.mark.parametrize("end", ["nothing", "Sigmoid", "squeezed", "Cast"])
def test_one_output_is_two_classes(end: str, tmp_path: Path) -> None:
    net = Net()
    name = single(net)
    if end in ("Sigmoid", "squeezed"):
        name = net.add("Sigmoid", name)
    if end == "squeezed":
        name = net.add("Squeeze", name)
    if end == "Cast":
        name = net.add("Cast", net.add("Cast", name, to=TensorProto.DOUBLE), to=FLOAT)
    path = net.give(name, None).save(tmp_path / "net.onnx")
    second = sigmoid(ONE)
    model, engine = opened(path, ("no", "yes"), **PIXELS)
    engine.warm_up()
    for number in (4, 1):
        found = engine.infer(SHOWN[:number])
        np.testing.assert_allclose(found, np.hstack([1 - second, second])[:number], atol=1e-4)
    assert (model.classes, model.multi_label) == (("no", "yes"), False)
    model, engine = opened(path, ("yes",), **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN), second, atol=1e-4)
    with pytest.raises(SettingsError, match="single output: name its two classes"):
        opened(path, **PIXELS)
    with pytest.raises(SettingsError, match="3 classes, but the model has 1 output"):
        opened(path, NAMES, **PIXELS)


def test_one_output_through_a_softmax_is_1_whatever_is_seen(tmp_path: Path) -> None:
    net = Net()
    path = net.give(net.add("Softmax", single(net), axis=1)).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match="the Softmax at its end makes 1 whatever is seen"):
        opened(path, ("no", "yes"), **PIXELS)
    net = Net()
    path = net.give(single(net)).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match="--activation softmax makes 1 whatever is seen"):
        opened(path, ("no", "yes"), activation="softmax", **PIXELS)


def test_a_softmax_over_the_batch_is_1_whatever_is_seen(tmp_path: Path) -> None:
    net = Net()
    path = net.give(net.add("Softmax", net.means(), axis=0)).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match=r"sum to 3, not to 1.*Softmax\(dim=1\)"):
        opened(path, NAMES)


def test_a_file_whose_dropout_is_at_work_is_refused(tmp_path: Path) -> None:
    net = Net()
    x = net.add("Dropout", "x", net.const(0.5), net.const(True, np.bool_), seed=3)
    path = net.give(net.means(x)).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match=r"other numbers each time.*model\.eval\(\)"):
        opened(path, NAMES, scaling="unit")


def test_p_and_1_minus_p_are_two_classes_of_which_one_is_true(tmp_path: Path) -> None:
    net = Net()
    second = net.add("Sigmoid", single(net))
    path = net.give(net.add("Concat", net.add("Sub", net.const(1.0), second), second, axis=1)).save(
        tmp_path / "n.onnx"
    )
    model, engine = opened(path, ("no", "yes"), **PIXELS)
    np.testing.assert_allclose(engine.infer(SHOWN)[:, 1:], sigmoid(ONE), atol=1e-4)
    assert (model.multi_label, model.assumed) == (False, ())


def test_names_in_the_file_make_two_classes_of_one_output(tmp_path: Path) -> None:
    net = Net()
    net.metadata = {"names": "['no', 'yes']"}
    model, engine = opened(net.give(single(net)).save(tmp_path / "net.onnx"), **PIXELS)
    assert model.classes == ("no", "yes")
    assert engine.infer(SHOWN).shape == (4, 2)


@pytest.mark.parametrize(
    ("threshold", "seen"), [(0.5, ["c", "a"]), (0.75, ["c"]), (0.05, ["c", "a", "b"]), (0.99, [])]
)
def test_several_labels_may_be_true(
    threshold: float, seen: Sequence[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    path = net.give(net.add("Sigmoid", logits(net))).save(tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    # Logits 0.6, -2.4, 2.4: 0.65, 0.08, 0.92.
    Image.new("RGB", (SIDE, SIDE), (153, 26, 230)).save(tmp_path / "picture.png")
    common: Dict[str, Any] = {"model": str(path), "labels": tmp_path / "labels.txt", "weights_dir": tmp_path}
    common.update(images=[tmp_path / "picture.png"], threshold=threshold, scaling="unit", resize=SIDE)
    assert classify(ClassifySettings(json_=True, **common)) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["labels"] == list(seen)
    assert answer["label"] == "c"
    assert classify(ClassifySettings(**common)) == 0
    assert f"seen: {', '.join(seen) or 'nothing'}" in capfd.readouterr().out


def test_a_class_alone_is_no_classifier(tmp_path: Path) -> None:
    net = Net()
    best: Optional[str] = net.add("ArgMax", logits(net), axis=1, keepdims=0)
    path = net.give(str(best), None, TensorProto.INT64).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match="number of the best class and no confidences"):
        opened(path, NAMES)
