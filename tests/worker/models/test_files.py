"""Files that are no checkpoints, damaged or hostile ones: a sentence says what it is, and the next step."""

from __future__ import annotations

import io
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest
import torch

from tests.worker.models.test_pickled import Hostile, programs
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.models import catalog
from worker.models.checkpoint.advice import EXPORT
from worker.models.loader import load_model


def load(path: Path) -> None:
    load_model(ModelChoice(model=f"squeezenet1_1@{path}"), path.parent)


def archive(path: Path, entries: Dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)


@pytest.mark.parametrize("name", sorted(programs(Path())))
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_checkpoint_runs_nothing(name: str, zipped: bool, tmp_path: Path) -> None:
    path, content = tmp_path / "mine.pth", programs(tmp_path / "called")[name]
    if zipped:
        archive(path, {"archive/data.pkl": content, "archive/version": b"3\n"})
    else:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"no state dict|not a checkpoint|does not hold"):
        load(path)
    assert not (tmp_path / "called").exists()


def tensor(storage: str, numel: int, offset: int, shape: Tuple[int, ...], stride: Tuple[int, ...]) -> bytes:
    """A state dict of one tensor, as PyTorch pickles it, with whatever numbers."""
    storage_itself = Path("the storage")

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, storage, "cpu", numel) if obj is storage_itself else None

    class Rebuilt:
        def __reduce__(self) -> Tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (storage_itself, offset, shape, stride, False, {})

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"classifier.1.bias": Rebuilt()})
    return stream.getvalue()


TENSORS = {
    "beyond its numbers": tensor("0", 1 << 40, 0, (1 << 40,), (1,)),
    "an offset beyond": tensor("0", 4, 1 << 40, (1,), (1,)),
    "repeated without end": tensor("0", 4, 0, (1 << 30, 1 << 30), (0, 0)),
    "no storage": tensor("7", 4, 0, (1,), (1,)),
    "another entry": tensor("../data.pkl", 4, 0, (1,), (1,)),
    "negative": tensor("0", 4, 0, (-1,), (1,)),
    "negative stride": tensor("0", 4, 0, (2,), (-1,)),
    "too many strides": tensor("0", 4, 0, (2,), (1, 1)),
}


@pytest.mark.parametrize("what", TENSORS)
def test_impossible_tensors_are_refused(what: str, tmp_path: Path) -> None:
    from worker.models.checkpoint.files import open_checkpoint
    from worker.models.checkpoint.tensors import state_dicts
    from worker.models.checkpoint.things import Malformed

    path = tmp_path / "mine.pth"
    archive(path, {"archive/data.pkl": TENSORS[what], "archive/data/0": bytes(16)})
    opened = open_checkpoint(path)

    def load_all() -> None:
        for found in state_dicts(opened.root, opened.storages):
            for lazy in found.tensors.values():
                lazy.load()

    with pytest.raises(Malformed):
        load_all()


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_anywhere_it_is_a_sentence(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    state = {f"part{i}.weight": torch.ones(3, 3) for i in range(4)}
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for place in range(0, len(content), max(len(content) // 150, 1)):
        for damaged in (content[:place], content[:place] + b"\xff" + content[place + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(SettingsError):
                load(path)


REFUSED: Dict[str, Tuple[Callable[[Path], Any], str]] = {
    "LFS": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "a Git LFS pointer, not the file itself: run `git lfs pull`",
    ),
    "a web page": (lambda p: p.write_text("\n<!DOCTYPE html><html>"), "it is a web page"),
    "Keras 2": (
        lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)),
        r"a model of Keras.*(.|\n)*--model",
    ),
    "Keras 3": (lambda p: archive(p, {"model.weights.h5": b"", "config.json": b""}), "a model of Keras"),
    "TFLite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(99)), "a TensorFlow Lite model"),
    "TensorRT": (lambda p: p.write_bytes(b"ptrt" + bytes(99)), "a TensorRT engine"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "an archive: unpack it"),
    "a zip of one": (lambda p: archive(p, {"best.pth": b"x"}), r"unpack it.*best\.pth"),
    "ONNX": (lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(99)), "an ONNX file: give it alone"),
    "torch.export": (
        lambda p: archive(p, {"x/archive_format": b"pt2", "x/models/model.json": b"{}"}),
        r"an archive of torch\.export(.|\n)*torch\.onnx\.export",
    ),
    "old torch.export": (
        lambda p: archive(p, {"serialized_exported_program.json": b"{}"}),
        r"an archive of torch\.export",
    ),
    "compressed": (
        lambda p: archive(p, {"a/data.pkl": b"N." + bytes(1000)}, zipfile.ZIP_DEFLATED),
        "compressed again",
    ),
    "another zip": (lambda p: archive(p, {"a.txt": b""}), "an archive without a checkpoint in it"),
    "safetensors, damaged": (lambda p: p.write_bytes(struct.pack("<Q", 99) + b"{" * 99), "a damaged one"),
    "a picture": (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0" + bytes(99)), "it begins with"),
    "a folder": (lambda p: p.mkdir(), "Is a directory"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_says_what_it_is(what: str, tmp_path: Path) -> None:
    write, says = REFUSED[what]
    write(tmp_path / "mine.pth")
    with pytest.raises(SettingsError, match=says) as raised:
        load(tmp_path / "mine.pth")
    assert str(tmp_path / "mine.pth") in str(raised.value)
    assert "weights_only" not in str(raised.value)


def test_ultralytics_has_an_exporter_of_its_own(tmp_path: Path) -> None:
    content = b"\x80\x02}X\x05\x00\x00\x00modelcultralytics.nn.tasks\nClassificationModel\n)\x81s."
    archive(tmp_path / "best.pt", {"best/data.pkl": content})
    with pytest.raises(SettingsError, match=r"yolo export model=best\.pt format=onnx"):
        load(tmp_path / "best.pt")


NAMES = [
    ("x.pth", r"--model NAME@x\.pth"),
    ("runs/best.CKPT", r"resnet18@runs/best\.CKPT"),
    ("model_best.pth.tar", r"NAME@model_best\.pth\.tar"),
    ("m.safetensors", r"NAME@m\.safetensors"),
    ("m.pt2", r"an archive of torch\.export"),
    ("m.h5", r"a model of Keras"),
    ("m.keras", r"a model of Keras"),
    ("m.tflite", "a TensorFlow Lite model"),
    ("m.engine", "a TensorRT engine"),
    ("m.mlmodel", "a Core ML model"),
    ("m.onnx.data", "weights of an ONNX file"),
    ("tf_efficientnet_lite0", r"timm\.create_model\('tf_efficientnet_lite0', pretrained=True\)"),
    ("resnet50.a1_in1k", r"timm\.create_model\('resnet50\.a1_in1k'"),
    ("vit_base_patch16_224", r"timm\.create_model(.|\n)*torch\.onnx\.export"),
    ("timm/resnet18", r"timm\.create_model\('resnet18'"),
    ("microsoft/resnet-50", "optimum-cli export onnx --model microsoft/resnet-50"),
    ("google/vit-base-patch16-224", "optimum-cli export onnx --model google/vit-base-patch16-224"),
    ("resnet81", "did you mean resnet18"),
    ("x" * 5000, "unknown model"),
    ("x/" * 5000, "unknown model"),
    ("x\0y", "unknown model"),
]


@pytest.mark.parametrize(("name", "says"), NAMES)
def test_a_name_that_is_none_says_what_to_do(name: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        catalog.canonical(name)


def test_a_file_or_a_folder_as_the_model(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a folder: give a file"):
        catalog.canonical(str(tmp_path))
    (tmp_path / "best").write_bytes(b"x")
    with pytest.raises(SettingsError, match="is a file: --model NAME@"):
        catalog.canonical(str(tmp_path / "best"))


@pytest.mark.skipif(sys.version_info < (3, 9), reason="onnxscript has no wheel for Python 3.8")
def test_the_lines_that_export_work(tmp_path: Path) -> None:
    lines = re.findall(r"^  (.*)$", EXPORT, re.MULTILINE)
    assert lines[0] == "import torch"
    network = "import torchvision\nmodel = torchvision.models.squeezenet1_1(weights=None, num_classes=3)"
    program = "\n".join([network, *lines])
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    import onnxruntime

    (found,) = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).get_inputs()
    assert (found.name, found.shape[1:]) == ("image", [3, 224, 224])
    assert not isinstance(found.shape[0], int)


def test_hostile_values_beside_tensors_stay_inert(tmp_path: Path) -> None:
    import torchvision

    module = torchvision.models.squeezenet1_1(weights=None, num_classes=3)
    beside = Hostile(print, "called")
    torch.save({"args": beside, "classes": beside, "state_dict": module.state_dict()}, tmp_path / "mine.pth")
    model, loaded = load_model(ModelChoice(model=f"squeezenet1_1@{tmp_path / 'mine.pth'}"), tmp_path)
    assert model.own_names == ()
    assert torch.equal(loaded.state_dict()["classifier.1.bias"], module.state_dict()["classifier.1.bias"])


@pytest.mark.parametrize("seed", range(4))
def test_pickles_with_changed_instructions_are_sentences(seed: int, tmp_path: Path) -> None:
    """Bytes of a real checkpoint's pickle, exchanged for others that occur in it and for all instructions."""
    import argparse
    import pickletools
    import random

    path = tmp_path / "mine.pth"
    beside = {"args": argparse.Namespace(crop_pct=0.9, mean=(1, 2, 3)), "classes": {"a": 0, "b": 1}}
    torch.save({**beside, "state_dict": {f"part{i}.weight": torch.ones(3, 3) for i in range(2)}}, path)
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    (name,) = (name for name in entries if name.endswith("data.pkl"))
    content = bytearray(entries[name])
    draw = random.Random(seed)
    codes = [ord(opcode.code) for opcode in pickletools.opcodes]
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.choice(codes)
        archive(path, {**entries, name: bytes(changed)})
        with pytest.raises(SettingsError):
            load(path)
