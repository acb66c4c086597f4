from __future__ import annotations

import hashlib
import http.server
import pickle
import re
import socket
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple, Type
from urllib.parse import urlparse

import pytest
import torch
import torchvision.models as zoo

from labels import IMAGENET_1K, read_labels
from wire.errors import NanofleetError, SettingsError
from worker import models
from worker.models import MODEL_NAMES, load_model
from worker.preprocessing import Preprocessing

# name -> canonical name, class of the module, weights, resize, crop
EXPECTED: Dict[str, Tuple[str, Type[torch.nn.Module], str, int, int]] = {
    "alexnet": ("alexnet", zoo.AlexNet, "IMAGENET1K_V1", 256, 224),
    "vgg16": ("vgg16", zoo.VGG, "IMAGENET1K_V1", 256, 224),
    "googlenet": ("googlenet", zoo.GoogLeNet, "IMAGENET1K_V1", 256, 224),
    "densenet": ("densenet121", zoo.DenseNet, "IMAGENET1K_V1", 256, 224),
    "resnet18": ("resnet18", zoo.ResNet, "IMAGENET1K_V1", 256, 224),
    "inception": ("inception_v3", zoo.Inception3, "IMAGENET1K_V1", 342, 299),
    "mobilenet": ("mobilenet_v2", zoo.MobileNetV2, "IMAGENET1K_V2", 232, 224),
}
BUILD: Dict[str, Dict[str, Any]] = {
    "vgg16": {"init_weights": False},
    "googlenet": {"init_weights": False, "aux_logits": True},
    "inception_v3": {"init_weights": False, "aux_logits": True},
}


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of torch.hub's checkpoints below a TORCH_HOME of the test's own; emptied afterwards."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    for path in folder.iterdir():
        path.unlink()


def checkpoint_path(folder: Path, name: str) -> Path:
    return folder / Path(urlparse(zoo.get_model_weights(name).DEFAULT.url).path).name


def seed_weights(folder: Path, name: str) -> Dict[str, torch.Tensor]:
    """Write seeded weights where torch.hub would have put the real ones; returns what a model should hold."""
    torch.manual_seed(0)
    module = zoo.get_model(name, weights=None, **BUILD.get(name, {}))
    state = module.state_dict()
    written = dict(state)
    if name == "densenet121":
        # Its published checkpoint still has a dot in its layers' names.
        written = {re.sub(r"(layer\d+\.(?:norm|conv))([12])", r"\1.\2", key): state[key] for key in state}
        assert any("norm.1" in key for key in written)
    # The published files of 2017 are in the format from before torch 1.6.
    torch.save(written, checkpoint_path(folder, name), _use_new_zipfile_serialization=name != "densenet121")
    return {key: value for key, value in state.items() if not key.lower().startswith("aux")}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_tutorial_name_loads_the_right_model(name: str, checkpoints: Path) -> None:
    canonical, architecture, weights, resize, crop = EXPECTED[name]
    seeded = seed_weights(checkpoints, canonical)

    model = load_model(name)

    assert (model.name, model.weights) == (canonical, weights)
    assert model.preprocessing == Preprocessing(resize=resize, crop=crop)
    assert model.classes == tuple(zoo.get_model_weights(canonical).DEFAULT.meta["categories"])
    assert type(model.module) is architecture
    loaded = model.module.state_dict()
    assert loaded.keys() == seeded.keys()
    assert all(torch.equal(loaded[key], seeded[key]) for key in seeded)
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    with torch.inference_mode():
        logits = model.module(torch.rand(1, 3, crop, crop))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (1, 1000)


def test_inception_computes_what_torchvision_does(checkpoints: Path) -> None:
    seed_weights(checkpoints, "inception_v3")
    weights = zoo.get_model_weights("inception_v3").DEFAULT
    image = torch.rand(1, 3, 299, 299)
    with torch.inference_mode():
        expected = zoo.inception_v3(weights=weights, progress=False).eval()(image)
        assert torch.equal(load_model("inception").module(image), expected)


def test_names_are_canonical_or_tutorial_and_case_does_not_matter() -> None:
    assert set(EXPECTED) | {canonical for canonical, *_ in EXPECTED.values()} < set(MODEL_NAMES)
    assert load_model("EfficientNet_Lite0").name == "efficientnet_lite0"


def test_efficientnet_lite0() -> None:
    model = load_model("efficientnet_lite0")
    assert model.weights == "IMAGENET1K_V1"
    assert model.classes == read_labels(IMAGENET_1K)
    assert model.preprocessing == Preprocessing(resize=256, crop=224)
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_efficientnet_lite0_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(SettingsError, match="pip install efficientnet_lite_pytorch"):
        load_model("efficientnet_lite0")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet81", "did you mean resnet18"),
        ("mobilnet", "did you mean mobilenet"),
        ("zzz", "known are efficientnet_lite0, alexnet"),
        (" resnet18", "unknown model ' resnet18'"),
        ("", "unknown model ''"),
    ],
)
def test_an_unknown_name_says_which_are_known(name: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        load_model(name)
    assert "inception_v3" in str(raised.value)


def test_labels_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "etiquetas.txt"
    path.write_text("".join(f"clase {index}\n" for index in range(1000)), encoding="utf-8")
    assert load_model("efficientnet_lite0", path).classes[504] == "clase 504"


def test_a_wrong_number_of_labels_says_both_numbers(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("cat\ndog\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"short\.txt: 2 classes, but the model has 1000 outputs"):
        load_model("efficientnet_lite0", path)


@pytest.fixture
def offline() -> Iterator[None]:
    """A network that refuses every connection at once."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        urllib.request.install_opener(
            urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        )
        yield
    urllib.request.install_opener(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("offline")
def test_offline_the_error_says_what_to_fetch_and_where_to_put_it(checkpoints: Path) -> None:
    with pytest.raises(NanofleetError, match="refused") as raised:
        load_model("resnet18")
    text = str(raised.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in text
    assert str(checkpoints / "resnet18-f37072fd.pth") in text
    assert list(checkpoints.iterdir()) == []

    seed_weights(checkpoints, "resnet18")
    assert load_model("resnet18").name == "resnet18"


def test_a_folder_that_cannot_be_made_is_told_like_a_failed_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(NanofleetError, match="NotADirectoryError"):
        load_model("resnet18")


class Archive(http.server.BaseHTTPRequestHandler):
    """Serves the same bytes under every name, and breaks off early under /cut/."""

    content = b"weights" * 100_000

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 1000 if self.path.startswith("/cut/") else None])

    def log_message(self, *_: object) -> None:
        """Not among the test's output."""


@pytest.fixture
def archive() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_download_is_checked_against_the_hash_in_its_name(
    archive: str, checkpoints: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"net-{hashlib.sha256(Archive.content).hexdigest()[:8]}.pth"
    for url in (f"{archive}/net-00000000.pth", f"{archive}/cut/{name}"):
        with pytest.raises(NanofleetError, match="cannot download the weights") as raised:
            models._fetch(url)
        assert url in str(raised.value)
        assert list(checkpoints.iterdir()) == []

    assert models._fetch(f"{archive}/{name}").read_bytes() == Archive.content
    assert capfd.readouterr().out == ""


def bad_weights() -> Dict[str, Any]:
    return {
        "another model": torch.nn.Linear(2, 2).state_dict(),
        "a whole module": torch.nn.Linear(2, 2),
        "no state dict": torch.zeros(3),
        "a list": ["conv1.weight"],
        "numbers for names": {1: torch.zeros(3)},
        "text for tensors": {"conv1.weight": "heavy"},
    }


@pytest.mark.parametrize("kind", bad_weights())
def test_a_file_of_something_else_is_named(kind: str, checkpoints: Path) -> None:
    path = checkpoint_path(checkpoints, "resnet18")
    torch.save(bad_weights()[kind], path)
    with pytest.raises(SettingsError, match="does not hold the weights of ResNet") as raised:
        load_model("resnet18")
    assert str(path) in str(raised.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(raised.value)


class Hostile:
    def __reduce__(self) -> Tuple[Any, ...]:
        return print, ("unpickled",)


HOSTILE = pickle.dumps(Hostile())


def test_a_damaged_or_hostile_file_is_named(checkpoints: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = checkpoint_path(checkpoints, "mobilenet_v2")
    seed_weights(checkpoints, "mobilenet_v2")
    whole = path.read_bytes()
    noise = bytes(torch.randint(256, (4096,), generator=torch.Generator().manual_seed(0)).tolist())
    for content in (
        b"",
        b"<html>not found</html>",
        noise,
        whole[:100],
        whole[:-100],
        HOSTILE,
    ):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=re.escape(str(path))):
            load_model("mobilenet")
    assert capfd.readouterr().out == ""
