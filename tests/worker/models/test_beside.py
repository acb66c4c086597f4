"""What was saved beside the tensors, or is assumed: class names, preprocessing, activation."""

from __future__ import annotations

import argparse
import collections
from pathlib import Path
from typing import Any, Dict

import pytest
import torch
import torchvision.models as zoo
from safetensors.torch import save_file

from tests.worker.models.checkpoints import State, load, saved
from wire.errors import SettingsError
from worker.models.overrides import relabelled

NAMES = ("cat", "cup", "rocket")
HOLDS: Dict[str, Any] = {
    "classes": {"classes": list(NAMES)},
    "class_to_idx": {"class_to_idx": {"rocket": 2, "cat": 0, "cup": 1}},
    "idx_to_class": {"idx_to_class": {2: "rocket", 0: "cat", 1: "cup"}},
    "OpenMMLab": {"meta": {"CLASSES": NAMES}},
    "OpenMMLab 1": {"meta": {"dataset_meta": {"classes": NAMES}}},
    "Lightning": {"hyper_parameters": {"class_names": list(NAMES), "lr": 0.1}},
    "defaultdict": {"class_to_idx": collections.defaultdict(int, {"cat": 0, "cup": 1, "rocket": 2})},
}


@pytest.mark.parametrize("where", HOLDS)
def test_names_in_the_checkpoint_are_used(where: str, state: State, tmp_path: Path) -> None:
    model, _ = load(saved(tmp_path, {"state_dict": state, **HOLDS[where]}))
    assert (model.classes, model.own_names, model.named) == (NAMES, NAMES, True)
    assert relabelled(model, None).classes == NAMES


@pytest.mark.parametrize(
    "beside",
    [
        {"classes": ["a", "b"]},
        {"classes": 3},
        {"names": {"x": 1}},
        {"classes": list("abc"), "labels": list("cba")},
    ],
)
def test_names_that_are_not_sure_are_not_used(beside: Any, state: State, tmp_path: Path) -> None:
    model, _ = load(saved(tmp_path, {"state_dict": state, **beside}))
    assert (model.own_names, model.named) == ((), False)


def test_safetensors_metadata_names_classes(state: State, tmp_path: Path) -> None:
    save_file(
        state,
        tmp_path / "m.safetensors",
        metadata={"format": "pt", "id2label": '{"0":"cat","1":"cup","2":"rocket"}'},
    )
    assert load(tmp_path / "m.safetensors")[0].classes == NAMES


def test_a_label_file_is_compared(state: State, tmp_path: Path) -> None:
    model, _ = load(
        saved(tmp_path, {"state_dict": state, "classes": list(NAMES)}), scaling="imagenet", crop=64
    )
    labels = tmp_path / "labels.txt"
    labels.write_text("Cat\ncup\nrocket\n", encoding="utf-8")
    assert relabelled(model, labels).assumed == ()
    for text in ("cup\ncat\nrocket\n", "cup\nkat\nrocket\n"):
        labels.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError, match="the same names in another order"):
            relabelled(model, labels)
    labels.write_text("Katze\nTasse\nRakete\n", encoding="utf-8")
    renamed = relabelled(model, labels)
    assert renamed.classes == ("Katze", "Tasse", "Rakete")
    assert renamed.assumed == (f"the names in {labels} replace those in mine.pth itself (cat, cup, rocket)",)


def test_what_is_assumed_of_the_preprocessing(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, state)
    size, scaling = load(path)[0].assumed
    assert size.startswith("resize 256, crop 224 (bilinear) are assumed")
    assert "say --resize, --crop, --fit" in size
    assert "ImageNet's mean and deviation is assumed" in scaling
    assert load(path, fit="squeeze")[0].assumed == (scaling,)
    assert load(path, scaling="unit")[0].assumed == (size,)
    assert load(path, mean="0,0,0", std="1,1,1", resize=64, crop=64)[0].assumed == ()


def test_a_resize_that_leaves_nothing_to_crop_shows_the_whole_image(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, state)
    model = load(path, scaling="imagenet", resize=224)[0]
    (sentence,) = model.assumed
    assert model.preprocessing.fit == "squeeze"
    assert "squeezed into its 224 x 224 pixels" in sentence
    assert "--fit crop" in sentence
    for more in ({"crop": 224}, {"fit": "crop"}):
        model = load(path, scaling="imagenet", resize=224, **more)[0]
        assert (model.preprocessing.fit, model.assumed) == ("crop", ())
    assert load(path, scaling="imagenet", resize=232)[0].preprocessing.fit == "crop"
    arguments = {"val_resize_size": 224, "val_crop_size": 224}
    told = saved(tmp_path, {"model": state, "args": argparse.Namespace(**arguments)})
    assert load(told, resize=224)[0].preprocessing.fit == "crop"


def test_one_output_is_a_sigmoid(state: State, tmp_path: Path) -> None:
    one = saved(
        tmp_path, {**state, "fc.weight": state["fc.weight"][:1], "fc.bias": state["fc.bias"][:1]}, "one.pth"
    )
    assert (load(one)[0].activation, load(one)[0].multi_label) == ("sigmoid", False)
    assert load(one, activation="none")[0].activation == "none"
    with pytest.raises(SettingsError, match="of a single output it is 1 whatever is seen"):
        load(one, activation="softmax")
    several = saved(tmp_path, state)
    assert (load(several)[0].activation, load(several)[0].multi_label) == ("softmax", False)
    model = load(several, activation="sigmoid")[0]
    assert (model.activation, model.multi_label) == ("sigmoid", True)


def test_googlenet_from_scratch_and_from_torchvisions_weights(tmp_path: Path) -> None:
    options = {"num_classes": 3, "aux_logits": False, "init_weights": False}
    torch.manual_seed(0)
    scratch = zoo.googlenet(weights=None, transform_input=False, **options).eval()
    path = saved(tmp_path, scratch.state_dict())
    began = zoo.googlenet(weights=None, transform_input=True, **options).eval()
    began.load_state_dict(scratch.state_dict())

    pixels = torch.rand(1, 3, 64, 64)
    for fields, reference in (({}, began), ({"scaling": "imagenet"}, scratch)):
        model, module = load(path, "googlenet", **fields)
        recipe = model.preprocessing
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (recipe.mean, recipe.std))
        with torch.inference_mode():
            expected = reference((pixels - zoo_mean()) / zoo_std())
            assert torch.allclose(module((pixels - mean) / std), expected, rtol=1e-3, atol=1e-4)
        assert "transform_input" in model.assumed[-1]
    assert len(load(path, "googlenet", scaling="symmetric", crop=64)[0].assumed) == 0


def zoo_mean() -> torch.Tensor:
    return torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)


def zoo_std() -> torch.Tensor:
    return torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


def test_numbers_are_no_names(state: State, tmp_path: Path) -> None:
    assert load(saved(tmp_path, {"state_dict": state, "labels": [0, 2, 1]}))[0].own_names == ()


def test_another_size_of_image_is_said(tmp_path: Path) -> None:
    grid = {"encoder.pos_embedding": torch.ones(1, 5, 768), "class_token": torch.ones(1, 1, 768)}
    with pytest.raises(
        SettingsError, match="Its images were of another size: say it with --resize and --crop"
    ):
        load(saved(tmp_path, grid), "vit_b_32")
