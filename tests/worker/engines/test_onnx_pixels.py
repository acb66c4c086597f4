"""What pixels an ONNX file wants: by its metadata, its first operators, or an assumption that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np
import pytest
from onnx import TensorProto

from tests.worker.engines.graphs import SIDE, Net, opened, pictures, softmax
from tests.worker.engines.logits import NAMES
from tests.worker.engines.pixels import ULTRALYTICS, ordered
from worker.decode.preprocessing import SCALINGS

MEAN, STD = (np.array(values) for values in SCALINGS["imagenet"])
CAFFE = np.array([123.68, 116.779, 103.939])
#: What a network is trained on, by uint8 [..., RGB].
TARGETS: Dict[str, Callable[[Any], Any]] = {
    "unit": lambda x: x / 255,
    "symmetric": lambda x: x / 127.5 - 1,
    "imagenet": lambda x: (x / 255 - MEAN) / STD,
    "imagenet bgr": lambda x: ((x / 255 - MEAN) / STD)[..., ::-1],
    "caffe": lambda x: ((x - CAFFE) / 64)[..., ::-1],
    "mxnet": lambda x: (x - 120) / 60,
}


def per_channel(values: Any) -> Any:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def scaled(scale: Any, shift: Any) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        return str(net.add("Add", net.add("Mul", "x", net.const(scale)), net.const(shift)))

    return build


def centred(mean: Any, std: Any) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        return str(net.add("Div", net.add("Sub", "x", net.const(mean)), net.const(std)))

    return build


def flipped(then: Callable[[Net], str], how: str) -> Callable[[Net], str]:
    """The channels turned round in the graph."""

    def build(net: Net) -> str:
        if how == "gather":
            name = net.add("Gather", "x", net.const([2, 1, 0], np.int64), axis=1)
        elif how == "split":
            parts = net.add("Split", "x", net.const([1, 1, 1], np.int64), outputs=3, axis=1)
            name = net.add("Concat", *reversed(parts), axis=1)
        else:
            bounds = [net.const([value], np.int64) for value in (-1, -9223372036854775807, 1, -1)]
            name = net.add("Slice", "x", *bounds)
        net.nodes[-1].output[0] = "turned"
        del name
        first = len(net.nodes)
        result = then(net)
        for node in net.nodes[first:]:
            for number, each in enumerate(node.input):
                if each == "x":
                    node.input[number] = "turned"
        return result

    return build


def batch_norm(net: Net) -> str:
    ones, mean, variance = np.ones(3), np.full(3, 120.0), np.full(3, 3600.0)
    names = [net.const(values) for values in (ones, ones * 0, mean, variance)]
    return str(net.add("BatchNormalization", "x", *names))


def channel_by_channel(net: Net) -> str:
    """As torchvision's transform_input is exported."""
    parts = []
    for channel in range(3):
        one = net.add("Gather", "x", net.const(channel, np.int64), axis=1)
        one = net.add("Unsqueeze", one, net.const([1], np.int64))
        one = net.add("Mul", one, net.const(STD[channel] / 0.5))
        parts.append(net.add("Add", one, net.const((MEAN[channel] - 0.5) / 0.5)))
    return str(net.add("Concat", *parts, axis=1))


B, S = per_channel(MEAN * 255), per_channel(STD * 255)
GRAPHS: Sequence[Tuple[str, Callable[[Net], str], str, str, str]] = [
    # what it does; its first operators; the target; the scaling and the order that these tell
    ("x / 255", scaled(1 / 255, 0), "unit", "bytes", "rgb"),
    ("x / 127.5 - 1", scaled(1 / 127.5, -1), "symmetric", "bytes", "rgb"),
    ("(x - 127.5) / 128", centred(127.5, 128), "symmetric", "bytes", "rgb"),
    ("(x - mean) / std of bytes", centred(B, S), "imagenet", "bytes", "rgb"),
    ("(x - mean) / std, blue first", centred(B[:, ::-1], S[:, ::-1]), "imagenet bgr", "bytes", "bgr"),
    ("(x - mean) / std of 0..1", centred(per_channel(MEAN), per_channel(STD)), "imagenet", "unit", "rgb"),
    ("2 x - 1", scaled(2, -1), "symmetric", "unit", "rgb"),
    ("x / 2 + 1 / 2", scaled(0.5, 0.5), "unit", "symmetric", "rgb"),
    ("caffe's means, blue first", centred(per_channel(CAFFE[::-1]), 1), "caffe", "bytes", "bgr"),
    ("turned by Gather", flipped(centred(per_channel(CAFFE[::-1]), 1), "gather"), "caffe", "bytes", "rgb"),
    ("turned by Split", flipped(centred(per_channel(CAFFE[::-1]), 1), "split"), "caffe", "bytes", "rgb"),
    ("turned by Slice", flipped(centred(per_channel(CAFFE[::-1]), 1), "slice"), "caffe", "bytes", "rgb"),
    ("a learnt batch norm", batch_norm, "mxnet", "bytes", "rgb"),
    ("transform_input", channel_by_channel, "symmetric", "imagenet", "rgb"),
]


@pytest.mark.parametrize(
    ("first", "target", "scaling", "order"), [row[1:] for row in GRAPHS], ids=[r[0] for r in GRAPHS]
)
def test_first_operators_tell(
    first: Callable[[Net], str], target: str, scaling: str, order: str, tmp_path: Path
) -> None:
    net = Net()
    name = first(net)
    if target == "caffe":
        name = net.add("Mul", name, net.const(1 / 64))
    net.give(net.add("Mul", net.means(name), net.const(3.0)))
    model, engine = opened(net.save(tmp_path / "net.onnx"), NAMES)
    recipe = model.preprocessing
    assert (recipe.mean, recipe.std) == SCALINGS[scaling]
    assert recipe.channels == order
    assert not any("pixels are" in sentence for sentence in model.assumed)
    shown = pictures(4)
    right = softmax(3 * TARGETS[target](shown.astype(float)).mean((1, 2)))
    np.testing.assert_allclose(engine.infer(ordered(shown, recipe)), right, atol=2e-2)


@pytest.mark.parametrize(
    ("shape", "scaling"),
    [
        (("N", 3, SIDE, SIDE), "imagenet"),
        (("N", SIDE, SIDE, 3), "symmetric"),
        (("N", 1, SIDE, SIDE), "unit"),
    ],
)
def test_where_nothing_tells_it_is_said_what_is_assumed(
    shape: Sequence[Any], scaling: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = Net(shape)
    path = net.give(net.means(channels_first=shape[3] != 3)).save(tmp_path / "net.onnx")
    names = NAMES[:1] if 1 in shape else NAMES
    model, _ = opened(path, names)
    assert (model.preprocessing.mean, model.preprocessing.std) == SCALINGS[scaling]
    assert f"what its pixels are: --scaling {scaling}" in caplog.text
    assert ("rgb" in caplog.text) == (1 not in shape)
    assert "--fit and --resize say otherwise" in caplog.text
    caplog.clear()
    model, _ = opened(path, names, scaling="bytes", fit="squeeze")
    assert (model.preprocessing.mean, model.preprocessing.std) == SCALINGS["bytes"]
    assert (model.assumed, caplog.text) == ((), "")


def test_flags_go_before_metadata_and_metadata_before_the_graph(tmp_path: Path) -> None:
    net = Net()
    net.metadata = ULTRALYTICS
    path = net.give(net.means(scaled(1 / 255, 0)(net))).save(tmp_path / "net.onnx")
    assert opened(path)[0].preprocessing.std == SCALINGS["unit"][1]
    assert opened(path, scaling="symmetric")[0].preprocessing.std == SCALINGS["symmetric"][1]
    assert opened(path, mean=(0, 0, 0), std=(2, 2, 2))[0].preprocessing.std == (2, 2, 2)
    assert opened(path, channels="bgr", fit="pad")[0].preprocessing.fit == "pad"


@pytest.mark.parametrize(
    ("dtype", "zero", "shift"), [(TensorProto.UINT8, 0, 0), (TensorProto.INT8, -128, 128)]
)
def test_quantised_inputs_get_bytes(dtype: int, zero: int, shift: int, tmp_path: Path) -> None:
    net = Net(("N", SIDE, SIDE, 3), dtype)
    kind = np.uint8 if dtype == TensorProto.UINT8 else np.int8
    real = net.add("DequantizeLinear", "x", net.const(1 / 255), net.const(zero, kind))
    net.give(net.add("Mul", net.means(real, channels_first=False), net.const(5.0)))
    model, engine = opened(net.save(tmp_path / "net.onnx"), NAMES)
    assert not any("pixels are" in sentence for sentence in model.assumed)
    shown = pictures(3)
    np.testing.assert_allclose(engine.infer(shown), softmax(5 * (shown / 255.0).mean((1, 2))), atol=1e-3)


@pytest.mark.parametrize(
    ("scale", "zero", "scaling"),
    [(1 / 255, 0, "unit"), (1.0, 0, "bytes"), (2 / 255, 128, "symmetric"), (4.75 / 255, 114, "imagenet")],
)
def test_the_range_of_a_calibration_tells_and_is_said(
    scale: float, zero: int, scaling: str, tmp_path: Path
) -> None:
    net = Net()
    how = [net.const(scale), net.const(zero, np.uint8)]
    back = net.add("DequantizeLinear", net.add("QuantizeLinear", "x", *how), *how)
    model, _ = opened(net.give(net.means(back)).save(tmp_path / "net.onnx"), NAMES)
    assert (model.preprocessing.mean, model.preprocessing.std) == SCALINGS[scaling]
    assert any("calibrated" in each and f"--scaling {scaling}" in each for each in model.assumed)
