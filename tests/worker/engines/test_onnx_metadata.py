"""What an ONNX file's metadata tells: its pixels and the names of its classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Sequence, Tuple

import numpy as np
import pytest

from tests.worker.engines.graphs import SIDE, Net, opened, pictures, softmax
from tests.worker.engines.logits import NAMES
from tests.worker.engines.pixels import ULTRALYTICS, ordered
from wire.errors import SettingsError
from worker.decode.preprocessing import SCALINGS

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
    "value",
    [
        *("{0: 'a', 2: 'c', 3: 'd'}", "[1, 2, 3]", "{", "a", "__import__('os')", "['a', 'b']"),
        *(r'["a", "b", "\ud83d"]', r"{0: 'a', 1: 'b', 2: '\ude00'}"),  # half of a character is none
    ],
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
