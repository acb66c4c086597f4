"""Checkpoints that the real tools have written, with the answers that their networks gave there.

`make_checkpoints.py` made them. Here neither the tools nor their versions are needed.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
import torch

from labels import read_labels
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.models.info import Model
from worker.models.loader import load_model

NAMES = ("cat", "cup", "rocket")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    with zipfile.ZipFile(Path(__file__).with_name("checkpoints.zip")) as archive:
        archive.extractall(folder)
    return folder


def load(files: Path, model: str, **fields: Any) -> Tuple[Model, torch.nn.Module]:
    name, _, file = model.partition("@")
    return load_model(ModelChoice(model=f"{name}@{files / file}", **fields), files)


def answer(module: torch.nn.Module) -> Tuple[float, ...]:
    image = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.inference_mode():
        return tuple(module(image)[0].tolist())


@pytest.fixture(scope="module")
def right(files: Path) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads((files / "right.json").read_text(encoding="utf-8"))
    for name, logits in found.items():
        assert max(logits) - min(logits) > 0.01, name
    return found


SHUFFLENET = {
    "with_lightning": "lightning.ckpt",
    "with_references": "references.pth",
    "with_accelerate": "accelerate.safetensors",
    "whole_module": "whole_module.pt",
}


@pytest.mark.parametrize("tool", SHUFFLENET)
def test_it_answers_as_it_did_where_it_was_trained(tool: str, files: Path, right: Dict[str, Any]) -> None:
    _, module = load(files, f"shufflenet_v2_x0_5@{SHUFFLENET[tool]}")
    assert answer(module) == pytest.approx(right[tool], rel=1e-3, abs=1e-3)


def test_lightnings_hyperparameters_name_the_classes(files: Path) -> None:
    model, _ = load(files, "shufflenet_v2_x0_5@lightning.ckpt", scaling="imagenet", crop=224)
    assert (model.classes, model.own_names, model.named, model.assumed) == (NAMES, NAMES, True, ())


def test_torchvisions_references_say_how_they_trained(files: Path, right: Dict[str, Any]) -> None:
    model, _ = load(files, "shufflenet_v2_x0_5@references.pth")
    assert model.preprocessing == Preprocessing(resize=72, crop=64, interpolation="bicubic")
    (sentence,) = model.assumed
    assert "'model' was taken; --state-key model_ema takes another" in sentence
    averaged, module = load(files, "shufflenet_v2_x0_5@references.pth", state_key="model_ema")
    assert averaged.assumed == ()
    expected = [logit + 1 for logit in right["with_references"]]
    assert answer(module) == pytest.approx(expected, rel=2e-2, abs=5e-2)  # it was kept in half precision
    assert load(files, "shufflenet_v2_x0_5@references.pth", state_key="model")[0].assumed == ()


def test_timms_train_script(files: Path, right: Dict[str, Any]) -> None:
    model, module = load(files, "resnet18@timm.pth.tar")
    assert answer(module) == pytest.approx(right["with_timm"], rel=1e-3, abs=1e-4)
    half = (0.5, 0.5, 0.5)
    assert model.preprocessing == Preprocessing(80, 64, "bicubic", half, half)
    (sentence,) = model.assumed
    assert "'state_dict' was taken; --state-key state_dict_ema takes another" in sentence
    module = load(files, "resnet18@timm.pth.tar", state_key="state_dict_ema")[1]
    assert answer(module) == pytest.approx([logit + 1 for logit in right["with_timm"]], abs=1e-2)


def test_transformers_has_other_names(files: Path) -> None:
    with pytest.raises(SettingsError, match=r"weights of resnet18: it lacks (.|\n)*optimum-cli export onnx"):
        load(files, "resnet18@transformers.safetensors")
    assert read_labels(files / "transformers.json") == NAMES
