"""What an ONNX file says of itself under `nanofleet.model` may be by anyone: bounded, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from onnx import TensorProto

from tests.worker.engines.graphs import SIDE, Net, opened
from wire.errors import NanofleetError, SettingsError
from worker.decode.preprocessing import Preprocessing
from worker.engines.onnx.describe import described
from worker.engines.onnx.described import KEY, MAX_CLASSES, MAX_TEXT
from worker.models.info import Model

PREPROCESSING = {
    **{"resize": 20, "crop": SIDE, "interpolation": "bilinear", "fit": "crop", "channels": "rgb"},
    **{"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "width": None},
}
SAYS: Dict[str, Any] = {
    **{"format": 1, "name": "net", "weights": "net.pth", "sha256": "0" * 64, "classes": ["a", "b", "c"]},
    **{"preprocessing": PREPROCESSING, "activation": "softmax", "multi_label": False, "threshold": 0.5},
    "origin": "made by a test",
}


def net(
    says: object,
    shape: Tuple[Any, ...] = ("N", SIDE, SIDE, 3),
    dtype: int = TensorProto.UINT8,
    ending: str = "Softmax",
) -> Net:
    """Bytes of pixels -> shares of red, green and blue; with another ending than Softmax, of 255."""
    net = Net(shape, dtype)
    means = net.means(net.add("Cast", "x", to=TensorProto.FLOAT), channels_first=shape[-1] != 3)
    if ending == "Softmax":
        net.give(net.add("Softmax", means, axis=1))
    else:
        net.give(net.add(ending, net.add("Div", means, net.const(255))))
    net.metadata = {KEY: says if isinstance(says, str) else json.dumps(says)}
    return net


def test_what_it_says_is_what_is_served(tmp_path: Path) -> None:
    model, engine = opened(net(SAYS).save(tmp_path / "other.onnx"))
    assert (model.name, model.weights, model.classes) == ("net", "net.pth", ("a", "b", "c"))
    assert model.preprocessing.resize == 20
    assert model.assumed == ()
    assert engine.infer(np.zeros((2, SIDE, SIDE, 3), np.uint8)).shape == (2, 3)


def without(name: str) -> Dict[str, Any]:
    return {key: value for key, value in SAYS.items() if key != name}


def recipe(**fields: object) -> Dict[str, Any]:
    return {**SAYS, "preprocessing": {**PREPROCESSING, **fields}}


DAMAGE: Dict[str, object] = {
    "empty": "",
    "no JSON": "{",
    "no object": "[]",
    "deep": "[" * 100_000,
    "long": json.dumps(SAYS) + " " * MAX_TEXT,
    "later": {**SAYS, "format": 2},
    "no name": {**SAYS, "name": ""},
    "a long name": {**SAYS, "name": "x" * 257},
    "a long class": {**SAYS, "classes": ["a", "b", "c" * 257]},
    "no classes": {**SAYS, "classes": []},
    "many classes": {**SAYS, "classes": [""] * (MAX_CLASSES + 1)},
    "a hash of anything": {**SAYS, "sha256": "../../etc/passwd"},
    "a long origin": {**SAYS, "origin": "x" * 2000},
    "another activation": {**SAYS, "activation": "exp"},
    "a threshold of 2": {**SAYS, "threshold": 2},
    "nothing of pixels": without("preprocessing"),
    "a crop of -1": recipe(crop=-1),
    "a huge crop": recipe(crop=10**6, resize=10**6),
    "a huge number": recipe(resize=10**400),
    "a resize of 0": recipe(resize=0, fit="pad"),
    "a crop of more": recipe(resize=SIDE - 1),
    "no deviation": recipe(std=[0.0, 1.0, 1.0]),
    "a tiny deviation": recipe(std=[1e-320, 1.0, 1.0]),
    "NaN": recipe(mean=[float("nan"), 0.0, 0.0]),
    "infinity": recipe(std=[float("inf"), 1.0, 1.0]),
    "two channels": recipe(mean=[0.0, 0.0]),
    "a fit of one's own": recipe(fit="stretch"),
    "a blank class": {**SAYS, "classes": ["a", " ", "c"]},
    "blank classes": {**SAYS, "classes": [""] * 1000},
    "a class that rings": {**SAYS, "classes": ["a", "b\x07", "c"]},
    "a name of two lines": {**SAYS, "name": "net\nnet"},
    "half a character": {**SAYS, "weights": "\ud800"},
    "several of a softmax": {**SAYS, "multi_label": True},
    "several of one": {**SAYS, "activation": "sigmoid", "multi_label": True, "classes": ["a"]},
    "the softmax of one": {**SAYS, "classes": ["a"]},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_it_may_not_say_is_refused(damage: str, tmp_path: Path) -> None:
    path = net(DAMAGE[damage]).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match=rf"{KEY} in its metadata .*nanofleet models export") as raised:
        opened(path)
    assert len(str(raised.value)) < 1500


@pytest.mark.parametrize(
    "other",
    [
        net(SAYS, shape=("N", 8, 8, 3)),
        net(SAYS, shape=("N", 3, SIDE, SIDE)),
        net(SAYS, dtype=TensorProto.FLOAT),
        net(SAYS, shape=("N", "H", "W", 3)),
        net(recipe(channels="gray")),
        net({**SAYS, "classes": ["a", "b"]}),
        net({**SAYS, "classes": ["a", "b", "c", "d"]}),
    ],
    ids=["size", "layout", "type", "open", "gray", "fewer classes", "more classes"],
)
def test_a_graph_that_is_another_is_refused(other: Net, tmp_path: Path) -> None:
    with pytest.raises(NanofleetError, match=r"net\.onnx (says that it takes|names \d classes)"):
        opened(other.save(tmp_path / "net.onnx"))


def test_another_order_of_channels_is_refused(tmp_path: Path) -> None:
    """The graph subtracts its means in the order that it was exported with."""
    path = net(recipe(channels="bgr")).save(tmp_path / "net.onnx")
    assert opened(path, channels="bgr")[0].preprocessing.channels == "bgr"
    for channels in ("rgb", "gray"):
        with pytest.raises(SettingsError, match=rf"--channels {channels}: .*net\.onnx takes bgr"):
            opened(path, channels=channels)


RECIPE = Preprocessing(resize=20, crop=SIDE)
UNSAYABLE: Dict[str, Tuple[Dict[str, Any], str]] = {
    "a large mean": ({"preprocessing": replace(RECIPE, mean=(2e6, 0.0, 0.0))}, "mean: each below"),
    "a tiny deviation": ({"preprocessing": replace(RECIPE, std=(1e-7, 1.0, 1.0))}, "std: each above"),
    "a large resize": (
        {"preprocessing": replace(RECIPE, resize=5000)},
        "resize and crop: sides of 1 to 4096",
    ),
    "many classes": ({"classes": ("x",) * (MAX_CLASSES + 1)}, "classes: .* at most 100000 items"),
    "much text": ({"classes": ("x" * 255,) * 36_000}, "give it shorter --labels"),
    "a line of a name": ({"weights": "net\n.pth"}, "weights: .* control characters"),
}


@pytest.mark.parametrize("what", UNSAYABLE)
def test_what_no_file_may_say_is_not_written(what: str, tmp_path: Path) -> None:
    graph = net("{}").save(tmp_path / "net.onnx")
    model = Model(name="net", weights="net.pth", sha256="0" * 64, classes=("a",) * 3, preprocessing=RECIPE)
    fields, says = UNSAYABLE[what]
    described(graph, model)
    with pytest.raises(SettingsError, match=rf"net@net\s?.pth: no file can .*{says}"):
        described(graph, model.model_copy(update=fields))


def test_damage_is_told_with_its_field(tmp_path: Path) -> None:
    for damage, field in (
        ("a blank class", "classes: .*' '"),
        ("blank classes", "classes:"),
        ("a name of two lines", "name:"),
        ("several of a softmax", "multi_label:"),
        ("no deviation", "std:"),
    ):
        with pytest.raises(SettingsError, match=field):
            opened(net(DAMAGE[damage]).save(tmp_path / "net.onnx"))


@pytest.mark.parametrize(
    ("activation", "ending"), [("none", "Softmax"), ("sigmoid", "Softmax"), ("softmax", "Sigmoid")]
)
def test_an_activation_that_its_graph_has_not_done_is_refused(
    activation: str, ending: str, tmp_path: Path
) -> None:
    path = net({**SAYS, "activation": activation}, ending=ending).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match=f"activation .* is {activation}, .* ends with {ending.lower()}"):
        opened(path)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_activation_that_was_left_open_is_done_and_told(activation: str, tmp_path: Path) -> None:
    path = net({**SAYS, "activation": "none"}, ending="Relu").save(tmp_path / "net.onnx")
    white = np.full((1, SIDE, SIDE, 3), 255, np.uint8)
    assert opened(path)[0].activation == "none"
    model, engine = opened(path, activation=activation)
    several = activation == "sigmoid"
    assert (model.activation, model.multi_label) == (activation, several)
    (row,) = engine.infer(white)
    assert row == pytest.approx([0.731 if several else 1 / 3] * 3, abs=1e-3)
    assert model.seen(row) == (("a", "b", "c") if several else None)


def test_its_own_side_alone_squeezes_as_of_the_checkpoint_itself(tmp_path: Path) -> None:
    path = net(SAYS).save(tmp_path / "net.onnx")
    model, _ = opened(path, resize=SIDE)
    assert model.preprocessing.fit == "squeeze"
    assert ["--fit crop cuts the centre out" in sentence for sentence in model.assumed] == [True]
    for fields in ({"fit": "crop"}, {"crop": SIDE}):
        assert opened(path, resize=SIDE, **fields)[0].preprocessing.fit == "crop"
    published = net({**SAYS, "weights": "IMAGENET1K_V1"}).save(tmp_path / "published.onnx")
    assert opened(published, resize=SIDE)[0].preprocessing.fit == "crop"


def single(classes: List[str], **says: object) -> Net:
    """Bytes of pixels -> the share of one class."""
    net = Net(("N", SIDE, SIDE, 3), TensorProto.UINT8)
    mean = net.add("ReduceMean", net.add("Cast", "x", to=TensorProto.FLOAT), axes=[1, 2, 3], keepdims=0)
    net.give(net.add("Sigmoid", net.add("Reshape", mean, net.const([-1, 1], np.int64))))
    net.metadata = {KEY: json.dumps({**SAYS, "classes": classes, "activation": "sigmoid", **says})}
    return net


def test_one_class_takes_labels_of_two(tmp_path: Path) -> None:
    path = single(["yes"]).save(tmp_path / "net.onnx")
    model, engine = opened(path, ["no", "yes"])
    assert (model.classes, model.assumed) == (("no", "yes"), ())
    assert engine.infer(np.full((1, SIDE, SIDE, 3), 255, np.uint8)) == pytest.approx(np.array([[0, 1]]))
    assert "replace those" in opened(path, ["off", "on"])[0].assumed[0]
    with pytest.raises(SettingsError, match="the same names in another order"):
        opened(single(["no", "yes"]).save(path), ["yes", "no"])
    with pytest.raises(SettingsError, match=r"multi_label .* gives one number"):
        opened(single(["no", "yes"], multi_label=True).save(path))
