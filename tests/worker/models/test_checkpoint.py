"""Checkpoints of one's own: from real training, in all the forms in which people save them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest
import skimage.data
import torch
import torchvision.models as zoo
from safetensors.torch import save_file, save_model
from skimage.transform import resize

from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.models.loader import load_model
from worker.models.overrides import relabelled

LABELS = ("cup", "cat", "rocket")


@pytest.fixture(scope="module")
def pictures() -> Tuple[torch.Tensor, torch.Tensor]:
    """24 small crops of three photos: float32 [24, 3, 64, 64], and which photo each is from."""
    rng = np.random.default_rng(0)
    crops, targets = [], []
    for target, photo in enumerate((skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket())):
        small = resize(photo, (120, 160), anti_aliasing=True).astype(np.float32)
        for _ in range(8):
            top, left = rng.integers(0, 56), rng.integers(0, 96)
            crops.append(small[top : top + 64, left : left + 64].transpose(2, 0, 1))
            targets.append(target)
    return torch.from_numpy(np.stack(crops)), torch.tensor(targets)


def train(
    module: torch.nn.Module, parameters: Any, pictures: Tuple[torch.Tensor, torch.Tensor]
) -> Tuple[float, float]:
    """A few steps of what every transfer learning tutorial does; the loss before and after."""
    images, targets = pictures
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    losses = []
    module.train()
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(module(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    module.eval()
    return losses[0], losses[-1]


@pytest.fixture(scope="module")
def extracted(pictures: Tuple[torch.Tensor, torch.Tensor]) -> torch.nn.Module:
    """Feature extraction: only a new last layer is trained."""
    torch.manual_seed(0)
    module = zoo.resnet18(weights=None)
    module.requires_grad_(False)
    module.fc = torch.nn.Linear(module.fc.in_features, len(LABELS))
    first, last = train(module, module.fc.parameters(), pictures)
    assert last < first
    return module


@pytest.fixture(scope="module")
def tuned(pictures: Tuple[torch.Tensor, torch.Tensor]) -> torch.nn.Module:
    """Full fine-tuning: all layers are trained."""
    torch.manual_seed(0)
    module = zoo.mobilenet_v3_small(weights=None)
    module.classifier[3] = torch.nn.Linear(module.classifier[3].in_features, len(LABELS))
    first, last = train(module, module.parameters(), pictures)
    assert last < first
    return module


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(LABELS), encoding="utf-8")
    return path


def load(model: str, labels: Any = None, **fields: Any) -> Tuple[Any, torch.nn.Module]:
    loaded, module = load_model(ModelChoice(model=model, **fields), Path("unused"))
    return relabelled(loaded, labels), module


def assert_same(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    image = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(found(image), expected(image))
    assert not found.training


def test_feature_extraction(extracted: torch.nn.Module, labels: Path, tmp_path: Path) -> None:
    torch.save(extracted.state_dict(), tmp_path / "mine.pth")
    model, module = load(f"resnet18@{tmp_path / 'mine.pth'}", labels)
    assert_same(module, extracted)
    assert (model.name, model.weights, model.classes) == ("resnet18", "mine.pth", LABELS)
    assert model.preprocessing == Preprocessing(resize=256, crop=224)
    assert len(model.sha256) == 64


def test_full_fine_tuning(tuned: torch.nn.Module, labels: Path, tmp_path: Path) -> None:
    save_file(tuned.state_dict(), str(tmp_path / "mine.safetensors"))
    spec = f"mobilenet_v3_small@{tmp_path / 'mine.safetensors'}"
    model, module = load(spec, labels, resize=72, crop=64, mean="0.5,0.5,0.5", std="0.5,0.5,0.5")
    assert_same(module, tuned)
    assert model.classes == LABELS
    assert model.preprocessing == Preprocessing(72, 64, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


#: The last layer of each is found in its own place.
HEADS = [
    "alexnet",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
]
HEADS += ["squeezenet1_1", "swin_t", "vit_b_32", "convnext_tiny", "regnet_y_400mf", "efficientnet_lite0"]


@pytest.mark.parametrize("name", HEADS)
def test_the_number_of_classes_is_found_in_every_family(name: str, labels: Path, tmp_path: Path) -> None:
    from worker.models.catalog import build

    built = build(name, len(LABELS))
    torch.save(built.state_dict(), tmp_path / "mine.pt")
    save_model(built, str(tmp_path / "mine.safetensors"))
    for path in (tmp_path / "mine.pt", tmp_path / "mine.safetensors"):
        model, module = load(f"{name}@{path}", labels)
        assert len(model.classes) == len(LABELS)
        crop = model.preprocessing.crop
        with torch.inference_mode():
            assert module(torch.rand(1, 3, crop, crop)).shape == (1, len(LABELS))
        path.unlink()


WRAPPED: Dict[str, Callable[[Dict[str, torch.Tensor]], Any]] = {
    "Lightning": lambda state: {"epoch": 3, "state_dict": state, "optimizer_states": []},
    "model_state_dict": lambda state: {"model_state_dict": state, "step": 100},
    "torchvision's references": lambda state: {"model": state, "epoch": 3, "args": {"workers": 2}},
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "torch.compile": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "DistributedDataParallel, compiled": lambda state: {
        f"_orig_mod.module.{name}": value for name, value in state.items()
    },
    "both": lambda state: {"model": {f"module._orig_mod.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_what_training_scripts_wrap_around(
    how: str, extracted: torch.nn.Module, labels: Path, tmp_path: Path
) -> None:
    torch.save(WRAPPED[how](extracted.state_dict()), tmp_path / "mine.pth")
    assert_same(load(f"resnet18@{tmp_path / 'mine.pth'}", labels)[1], extracted)


def test_labels_are_asked_for(tuned: torch.nn.Module, labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(tuned.state_dict(), path)
    with pytest.raises(SettingsError, match=r"has 3 classes: name them in a file.*--labels"):
        load(f"mobilenet_v3_small@{path}")
    labels.write_text("cup\ncat\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="2 classes, but the model has 3 outputs"):
        load(f"mobilenet_v3_small@{path}", labels)


def test_a_pinned_hash_is_checked_before_the_file_is_read(labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(SettingsError, match=r"has the SHA-256 .* as --sha256 demands"):
        load(f"resnet18@{path}", labels, sha256="0" * 64)


class Hostile:
    def __reduce__(self) -> Tuple[Any, ...]:
        return print, ("unpickled",)


def write_module(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


def write_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


REFUSED: Dict[str, Tuple[Callable[[Path], None], str]] = {
    "a whole module of another kind": (
        write_module,
        r"weights of resnet18: it lacks (.|\n)*torch\.onnx\.export",
    ),
    "hostile": (
        lambda path: path.write_bytes(pickle.dumps(Hostile())) and None,
        "no state dict .* but an object of builtins.print",
    ),
    "a list": (lambda path: torch.save(["conv1"], path), "no state dict .* but a list"),
    "no tensors": (lambda path: torch.save({"epoch": 3}, path), "no state dict .* but a dict with 'epoch'"),
    "empty": (lambda path: path.write_bytes(b"") and None, "not a checkpoint, or a damaged one"),
    "a web page": (lambda path: path.write_bytes(b"<html>") and None, "it is a web page"),
    "missing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_state_dict_is_refused(
    kind: str, labels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write, says = REFUSED[kind]
    path = tmp_path / "mine.pth"
    write(path)
    with pytest.raises(SettingsError, match=says) as raised:
        load(f"resnet18@{path}", labels)
    assert str(path) in str(raised.value)
    assert "unpickled" not in capfd.readouterr().out


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:`torch.jit")
def test_torchscript_is_refused(labels: Path, tmp_path: Path) -> None:
    write_script(tmp_path / "mine.pt")
    with pytest.raises(SettingsError, match="a TorchScript archive"):
        load(f"resnet18@{tmp_path / 'mine.pt'}", labels)


def test_a_damaged_file_is_named(tuned: torch.nn.Module, labels: Path, tmp_path: Path) -> None:
    for name in ("mine.pth", "mine.safetensors"):
        path = tmp_path / name
        if name.endswith(".pth"):
            torch.save(tuned.state_dict(), path)
        else:
            save_file(tuned.state_dict(), str(path))
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(SettingsError, match="not a checkpoint, or a damaged one"):
            load(f"mobilenet_v3_small@{path}", labels)


def test_another_architecture_says_what_does_not_fit(
    extracted: torch.nn.Module, labels: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(extracted.state_dict(), path)
    with pytest.raises(
        SettingsError, match=r"weights of resnet34: it lacks layer1\.2\.conv1\.weight, .* and \d+ more"
    ):
        load(f"resnet34@{path}", labels)
    with pytest.raises(SettingsError, match=r"weights of alexnet: it lacks .*it has besides conv1\.weight"):
        load(f"alexnet@{path}", labels)
    with pytest.raises(SettingsError, match=r"weights of wide_resnet50_2: .*other shapes"):
        load(f"wide_resnet50_2@{path}", labels)
