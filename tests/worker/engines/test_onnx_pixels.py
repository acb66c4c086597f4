"""What pixels an ONNX file wants: by its metadata, its first operators, or an assumption that is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from tests.worker.engines.graphs import SIDE, Net, opened, pictures, softmax
from wire.errors import SettingsError
from worker.decode.preprocessing import SCALINGS, Preprocessing

NAMES = ("a", "b", "c")
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


def ordered(shown: NDArray[np.uint8], recipe: Preprocessing) -> NDArray[np.uint8]:
    """As the decoders would bring them."""
    return shown[..., ::-1] if recipe.channels == "bgr" else shown


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


ULTRALYTICS = {
    "author": "Ultralytics",
    "task": "classify",
    "imgsz": "[16, 16]",
    "names": "{0: 'a', 1: 'b', 2: 'c'}",
    "stride": "1",
}
METADATA: Sequence[Tuple[str, Dict[str, str], str, str, Tuple[int, str]]] = [
    ("Ultralytics", ULTRALYTICS, "unit", "rgb", (SIDE, "crop")),
    ("YOLOv5", {"names": "['a', 'b', 'c']", "stride": "32"}, "imagenet", "rgb", (SIDE, "crop")),
    (
        "Custom Vision",
        {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"},
        "bytes",
        "bgr",
        (18, "crop"),
    ),
    (
        "Windows ML, -1 to 1",
        {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_1_1"},
        "symmetric",
        "rgb",
        (18, "crop"),
    ),
    (
        "OpenVINO",
        {
            "model_info mean_values": "123.675 116.28 103.53",
            "model_info scale_values": "58.395 57.12 57.375",
            "model_info labels": "a b c",
            "model_info resize_type": "standard",
        },
        "imagenet",
        "rgb",
        (18, "squeeze"),
    ),
    ("mean and std", {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}, "symmetric", "rgb", (18, "crop")),
]


@pytest.mark.parametrize(
    ("metadata", "scaling", "order", "fit"), [row[1:] for row in METADATA], ids=[row[0] for row in METADATA]
)
def test_metadata_tells(
    metadata: Dict[str, str], scaling: str, order: str, fit: Tuple[int, str], tmp_path: Path
) -> None:
    net = Net()
    net.metadata = metadata
    model, engine = opened(net.give(net.means()).save(tmp_path / "net.onnx"), NAMES)
    recipe = model.preprocessing
    np.testing.assert_allclose([recipe.mean, recipe.std], SCALINGS[scaling], atol=1e-6)
    assert (recipe.channels, recipe.resize, recipe.fit) == (order, *fit)
    assert not any("pixels are" in sentence for sentence in model.assumed)
    shown = pictures(2)
    x = ordered(shown, recipe) / 255.0
    right = softmax(((x - SCALINGS[scaling][0]) / SCALINGS[scaling][1]).mean((1, 2)))
    np.testing.assert_allclose(engine.infer(ordered(shown, recipe)), right, atol=1e-3)


def test_a_mean_tells_the_order_of_the_channels(tmp_path: Path) -> None:
    net = Net()
    net.metadata = {"mean": "103.53 116.28 123.675", "std": "57.375 57.12 58.395"}
    model, engine = opened(net.give(net.means()).save(tmp_path / "net.onnx"), NAMES, fit="squeeze")
    recipe = model.preprocessing
    assert (recipe.channels, model.assumed) == ("bgr", ())
    np.testing.assert_allclose([recipe.mean, recipe.std], SCALINGS["imagenet"], atol=1e-6)
    blue_first = ordered(pictures(2), recipe)
    mean, std = np.array(SCALINGS["imagenet"])[:, ::-1]
    right = softmax(((blue_first / 255.0 - mean) / std).mean((1, 2)))
    np.testing.assert_allclose(engine.infer(blue_first), right, atol=1e-3)


def test_where_a_mean_does_not_tell_the_order_it_is_said(tmp_path: Path) -> None:
    net = Net()
    net.metadata = {"mean": "[0.5]", "std": "[0.5]"}
    path = net.give(net.means()).save(tmp_path / "net.onnx")
    (sentence,) = opened(path, NAMES, fit="squeeze")[0].assumed
    assert "--channels rgb is assumed" in sentence
    assert opened(path, NAMES, fit="squeeze", channels="rgb")[0].assumed == ()


@pytest.mark.parametrize(
    "metadata",
    [{"mean": "0.5"}, {"std": "0.5"}, {"mean": "nan, inf, 1", "std": "1"}, {"mean": "a1", "std": "1"}],
)
def test_half_of_a_mean_and_a_deviation_is_none(metadata: Dict[str, str], tmp_path: Path) -> None:
    net = Net()
    net.metadata = metadata
    model, _ = opened(net.give(net.means()).save(tmp_path / "net.onnx"), NAMES)
    assert any("what its pixels are: --scaling imagenet" in sentence for sentence in model.assumed)


def test_flags_go_before_metadata_and_metadata_before_the_graph(tmp_path: Path) -> None:
    net = Net()
    net.metadata = ULTRALYTICS
    path = net.give(net.means(scaled(1 / 255, 0)(net))).save(tmp_path / "net.onnx")
    assert opened(path)[0].preprocessing.std == SCALINGS["unit"][1]
    assert opened(path, scaling="symmetric")[0].preprocessing.std == SCALINGS["symmetric"][1]
    assert opened(path, mean=(0, 0, 0), std=(2, 2, 2))[0].preprocessing.std == (2, 2, 2)
    assert opened(path, channels="bgr", fit="pad")[0].preprocessing.fit == "pad"


def test_ultralytics_of_another_task_is_no_classifier(tmp_path: Path) -> None:
    for task in ("detect", "segment", "pose", "obb"):
        net = Net()
        net.metadata = {**ULTRALYTICS, "task": task}
        with pytest.raises(SettingsError, match=f"no classifier.*task {task}"):
            opened(net.give(net.means()).save(tmp_path / "net.onnx"), NAMES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", "{0: 'a', 1: 'b', 2: 'c'}"),
        ("names", "{2: 'c', 0: 'a', 1: 'b'}"),
        ("classes", json.dumps(["a", "b", "c"])),
        ("id2label", json.dumps({"1": "b", "0": "a", "2": "c"})),
        ("class_to_idx", json.dumps({"b": 1, "c": 2, "a": 0})),
        ("labels", "a,b,c"),
        ("class_names", "a\nb\nc\n"),
    ],
)
def test_names_in_the_metadata_are_the_classes(key: str, value: str, tmp_path: Path) -> None:
    net = Net()
    net.metadata = {key: value}
    model, _ = opened(net.give(net.means()).save(tmp_path / "net.onnx"))
    assert model.classes == model.own_names == NAMES


@pytest.mark.parametrize(
    "value", ["{0: 'a', 2: 'c', 3: 'd'}", "[1, 2, 3]", "{", "a", "__import__('os')", "['a', 'b']"]
)
def test_what_are_no_names_is_left_aside(value: str, tmp_path: Path) -> None:
    net = Net()
    net.metadata = {"names": value}
    path = net.give(net.means()).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match="has 3 classes: name them"):
        opened(path)
    model, _ = opened(path, NAMES)
    assert model.own_names == ()
    assert any("names 2 classes and gives 3" in each for each in model.assumed) == (value == "['a', 'b']")


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
