"""ONNX files as tools write them: layouts, types, batches, logits and probabilities."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fleet.classify import classify
from tests.fleets import Fleet
from tests.harness import wait_for
from tests.worker.photos import crops
from wire.errors import SettingsError
from wire.messages import Reason, Rejection
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine
from worker.engines.select import open_model
from worker.models.info import Model
from worker.settings import ClassifySettings

SIDE = 48
CLASSES = ("blue", "green", "red")


class Colours(torch.nn.Module):
    """Scores three classes by the mean of the three channels of a normalised image [N, 3, H, W]."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 3 * images.mean((2, 3)).flip(1)


class Variant(torch.nn.Module):
    """The same behind another tool's idea of an interface."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.colours = Colours()

    def forward(self, images: torch.Tensor) -> Any:
        if self.how == "NHWC":
            images = images.permute(0, 3, 1, 2)
        if self.how == "uint8":
            images = (images.float() / 255 - 0.5) / 0.5
        scores = self.colours(images.float())
        if self.how == "probabilities":
            return scores.softmax(1)
        if self.how == "1x1":
            return scores[:, :, None, None]
        if self.how == "two outputs":
            return images.mean(1), scores
        return scores


def write(
    path: Path, module: torch.nn.Module, example: torch.Tensor, batch: bool = True, size: bool = False
) -> None:
    """Export by TorchScript, as most tools have done."""
    axes = {**({0: "batch"} if batch else {}), **({2: "height", 3: "width"} if size else {})}
    newer: Dict[str, Any] = {"dynamo": False} if torch.__version__ >= "2" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            str(path),
            input_names=["in"],
            dynamic_axes={"in": axes},
            opset_version=16,
            **newer,
        )


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "colours.txt"
    path.write_text("\n".join(CLASSES), encoding="utf-8")
    return path


def open_file(path: Path, labels: Optional[Path], **fields: Any) -> Tuple[Model, Engine]:
    choice = ModelChoice(model=str(path), labels=labels, **fields)
    return open_model(choice, engine="auto", device="cpu", max_batch=4, weights_dir=path.parent)


def expected(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    images = (torch.from_numpy(batch.copy()).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    found: NDArray[np.float32] = Colours()(images).softmax(1).numpy()
    return found


HALVES = {"mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"}
FORMS: List[Tuple[str, torch.dtype, bool, bool, int]] = [
    # how, type, open batch, open size, frames in a fixed batch
    ("plain", torch.float32, True, False, 2),
    ("plain", torch.float32, False, False, 1),
    ("plain", torch.float32, False, False, 3),
    ("plain", torch.float32, True, True, 2),
    ("NHWC", torch.float32, True, False, 2),
    ("plain", torch.float16, True, False, 2),
    ("uint8", torch.uint8, True, False, 2),
    ("probabilities", torch.float32, True, False, 2),
    ("1x1", torch.float32, True, False, 2),
    ("two outputs", torch.float32, True, False, 2),
]


@pytest.mark.parametrize(("how", "dtype", "batch", "size", "frames"), FORMS)
def test_every_form_gives_the_same_probabilities(
    how: str, dtype: torch.dtype, batch: bool, size: bool, frames: int, labels: Path, tmp_path: Path
) -> None:
    path = tmp_path / "colours.onnx"
    shape = (frames, SIDE, SIDE, 3) if how == "NHWC" else (frames, 3, SIDE, SIDE)
    example = torch.zeros(shape, dtype=dtype)
    write(path, Variant(how), example, batch, size)
    model, engine = open_file(path, labels, **HALVES, **({"crop": SIDE} if size else {}))
    assert (model.name, model.weights, model.classes) == ("colours", "colours.onnx", CLASSES)
    assert (model.preprocessing.resize, model.preprocessing.crop) == (round(SIDE * 256 / 224), SIDE)
    assert engine.name == "onnxruntime"
    engine.warm_up()
    photos = crops(Preprocessing(56, SIDE))
    for number in (4, 1):
        found = engine.infer(photos[:number])
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, expected(photos[:number]), atol=5e-3 if dtype == torch.float16 else 1e-5
        )


def test_a_thousand_classes_are_imagenets(tmp_path: Path) -> None:
    path = tmp_path / "thousand.onnx"
    write(
        path,
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 1000)),
        torch.zeros(2, 3, SIDE, SIDE),
    )
    model, engine = open_file(path, None)
    assert model.classes[504] == "coffee mug"
    assert any("taken for ImageNet's 1000 classes" in sentence for sentence in model.assumed)
    np.testing.assert_allclose(engine.infer(np.zeros((2, SIDE, SIDE, 3), np.uint8)).sum(1), 1, atol=1e-5)


class Standardised(torch.nn.Module):
    """Divides by the spread of the image: by nothing, if that has one colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        centred = images - images.mean((1, 2, 3), keepdim=True)
        return Colours()(centred / centred.pow(2).mean((1, 2, 3), keepdim=True).sqrt())


@pytest.fixture
def standardised(tmp_path: Path, labels: Path) -> Path:
    path = tmp_path / "standardised.onnx"
    write(path, Standardised(), torch.rand(2, 3, SIDE, SIDE))
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "night.png")
    return path


NIGHT = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def test_an_answer_of_nan_is_told(
    standardised: Path, labels: Path, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = [standardised.with_name("night.png"), photos / "coffee.png"]
    settings = ClassifySettings(model=str(standardised), labels=labels, images=images, json_=True, **NIGHT)
    assert classify(settings) == 1
    night, coffee = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert night["error"] == "not_a_number"
    assert coffee["label"] in CLASSES


def test_a_worker_rejects_such_a_frame_and_goes_on(
    standardised: Path,
    labels: Path,
    photos: Path,
    root: str,
    fleet: Fleet,
) -> None:
    recipe = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]
    fleet.worker("--model", str(standardised), "--labels", str(labels), *recipe)
    listener = fleet.listen("results/+", "rejects/+")
    for image in (standardised.with_name("night.png"), photos / "coffee.png"):
        listener.publish(f"{root}/frames/door", image.read_bytes())
    wait_for(lambda: len(listener.messages) == 2, what="two answers")
    (rejection,) = listener.on(f"{root}/rejects/")
    assert Rejection.decode(rejection.payload).reason is Reason.NOT_A_NUMBER


def test_a_pinned_hash(labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    write(path, Colours(), torch.zeros(2, 3, SIDE, SIDE))
    model, _ = open_file(path, labels)
    assert open_file(path, labels, sha256=model.sha256)[0] == model
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        open_file(path, labels, sha256="0" * 64)


class Refused(torch.nn.Module):
    """Something else than a classifier of images."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2)) if self.how == "no classes" else images.flatten(1)[:, :3] * 2


@pytest.mark.parametrize(
    ("how", "shape", "says"),
    [
        ("vectors", (2, 12), "not one batch of images"),
        ("transparent", (2, 4, SIDE, SIDE), "images with transparency, or of four channels"),
        (
            "no classes",
            (
                2,
                3,
                SIDE,
                SIDE,
            ),
            "no classifier",
        ),
    ],
)
def test_what_is_no_classifier_of_images_is_refused(
    how: str, shape: Tuple[int, ...], says: str, labels: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.onnx"
    module = torch.nn.Flatten(2) if how == "no classes" else Refused(how)
    write(path, module, torch.zeros(shape))
    with pytest.raises(SettingsError, match=says) as raised:
        open_file(path, labels)
    assert str(path) in str(raised.value)


def test_errors_name_the_file_and_the_way_out(labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    with pytest.raises(SettingsError, match="No such file"):
        open_file(path, labels)
    path.write_bytes(b"no graph")
    with pytest.raises(SettingsError, match="no ONNX model, or a damaged one"):
        open_file(path, labels)
    write(path, Colours(), torch.zeros(2, 3, SIDE, SIDE))
    with pytest.raises(SettingsError, match=r"has 3 classes: name them in a file.*--labels"):
        open_file(path, None)
    labels.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="2 classes, but the model has 3 outputs"):
        open_file(path, labels)
    with pytest.raises(SettingsError, match=r"--crop 64: .* takes images of 48 x 48 pixels"):
        open_file(path, labels, crop=64)
    choice = ModelChoice(model=str(path), labels=labels)
    with pytest.raises(SettingsError, match="an ONNX file is run by onnxruntime"):
        open_model(choice, engine="torch", device="cpu", max_batch=1, weights_dir=tmp_path)
