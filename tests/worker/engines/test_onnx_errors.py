"""What is no ONNX classifier: it is said what it is, and the next step, without a traceback."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from tests.worker.engines.graphs import Net, opened
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.select import open_model

CONTENTS: Dict[str, Any] = {
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "web page": (b"\r\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page.*download it again"),
    "json": (b'{"error": "Repository not found"}', "JSON, as a server's error message"),
    "xml": (b'<?xml version="1.0"?><net name="Model0"></net>', "XML.*OpenVINO"),
    "empty": (b"", "is empty"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras model.*format="),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite model.*tf2onnx"),
    "ort": (b"\x1c\0\0\0ORTM" + bytes(64), "reduced format.*give the .onnx"),
    "engine": (b"ftrt" + bytes(64), "TensorRT engine"),
    "gzip": (b"\x1f\x8b\x08" + bytes(64), "compressed.*gunzip"),
    "pickle": (b"\x80\x04\x95" + bytes(64), "a pickle"),
    "text": (b"resnet18\n", "no ONNX model, or a damaged one"),
    "zeros": (bytes(500), "no ONNX model, or a damaged one"),
    "half a zip": (b"PK\x03\x04" + bytes(64), "an archive, and a damaged one"),
    "weights of ONNX": (struct.pack("<100f", *range(100)), "no ONNX model"),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_what_a_file_is_instead_is_said(what: str, tmp_path: Path) -> None:
    content, says = CONTENTS[what]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as raised:
        opened(path, ("a", "b"))
    assert str(path) in str(raised.value)
    assert "weights_only" not in str(raised.value)


def write_checkpoint(path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)


def write_torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), str(path))


def write_safetensors(path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2, 2)}, str(path))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (write_checkpoint, "PyTorch checkpoint: give it as NAME@FILE"),
        (write_torchscript, "TorchScript program: export the model to ONNX"),
        (write_safetensors, "safetensors file.*NAME@FILE"),
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_what_pytorch_writes_is_known(write: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    write(tmp_path / "model.onnx")
    with pytest.raises(SettingsError, match=says):
        opened(tmp_path / "model.onnx", ("a", "b"))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("model.pb", "TensorFlow graph.*tf2onnx"),
        ("model.tflite", "TensorFlow Lite.*tf2onnx"),
        ("model.h5", "Keras model"),
        ("Model.KERAS", "Keras model"),
        ("model.engine", "TensorRT engine"),
        ("model.plan", "TensorRT engine"),
        ("model.pt2", r"torch\.export.*torch\.onnx\.export"),
        ("model.ort", "reduced format"),
        ("model.onnx.data", "weights of an ONNX file.*beside it"),
        ("model.onnx.gz", "gunzip"),
        ("model.xml", "OpenVINO"),
        ("model.mlmodel", "Core ML"),
    ],
)
def test_a_model_of_another_kind_is_known_by_its_name(model: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=says):
        open_model(ModelChoice(model=model), engine="auto", device="cpu", max_batch=1, weights_dir=tmp_path)


def test_an_onnx_file_is_named_alone_in_either_case(tmp_path: Path) -> None:
    net = Net()
    net.give(net.means()).save(tmp_path / "NET.ONNX")
    assert opened(tmp_path / "NET.ONNX", ("a", "b", "c"))[0].name == "NET"
    assert ModelChoice(model="NET.ONNX").files == [Path("NET.ONNX")]
    with pytest.raises(
        SettingsError, match="No such file or directory; an ONNX file is named alone, without NAME@"
    ):
        opened(tmp_path / "resnet18@net.onnx", ("a", "b", "c"))
    with pytest.raises(SettingsError, match="No such file"):
        opened(tmp_path / "other.onnx", ("a", "b", "c"))


def test_what_is_too_new_is_said_with_the_next_step(tmp_path: Path) -> None:
    net = Net()
    model = net.give(net.means()).proto()
    model.ir_version = 99
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        SettingsError, match=r"IR version is 99, and onnxruntime .* up to \d+\. Upgrade onnxruntime"
    ):
        opened(path, ("a", "b", "c"))
    model.ir_version = 8
    model.opset_import[0].version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        SettingsError, match=r"opset of ai\.onnx is 99, and .* up to \d+\. Upgrade.*with opset \d+"
    ):
        opened(path, ("a", "b", "c"))


def test_unknown_operators_and_types_are_named(tmp_path: Path) -> None:
    net = Net()
    path = net.give(net.add("NoSuchOperator", net.means())).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match="no operator NoSuchOperator"):
        opened(path, ("a", "b", "c"))
    net = Net(dtype=TensorProto.DOUBLE)
    weights = net.const([[[[1.0]]] * 3] * 3, "float64")
    path = net.give(net.means(net.add("Conv", "x", weights)), dtype=TensorProto.DOUBLE).save(path)
    with pytest.raises(SettingsError, match="no Conv for its type of numbers: export it in float32"):
        opened(path, ("a", "b", "c"))


def test_further_inputs_are_named(tmp_path: Path) -> None:
    net = Net()
    net.inputs.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 3]))
    path = net.give(net.add("Sub", net.means(), "mean")).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError, match=r"mean tensor.*the other inputs as constants"):
        opened(path, ("a", "b", "c"))


def test_damage_anywhere_is_no_traceback(tmp_path: Path) -> None:
    net = Net()
    scaled = net.add("Mul", net.add("Transpose", "x", perm=[0, 1, 3, 2]), net.const(1 / 255))
    name = net.add("MatMul", net.means(scaled), net.const([[1, 2, 3]] * 3))
    net.metadata = {"names": "['a', 'b', 'c']", "imgsz": "[16, 16]"}
    whole = net.give(net.add("Softmax", name, axis=1)).save(tmp_path / "net.onnx").read_bytes()
    draw = random.Random(1)
    said = []
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 1, 3])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)) :]
        (tmp_path / "net.onnx").write_bytes(bytes(content))
        try:
            opened(tmp_path / "net.onnx", ("a", "b", "c"))
        except NanofleetError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(sentence.count("net.onnx") for sentence in said if "label file" not in sentence)


def test_a_long_chain_of_operators_is_no_traceback(tmp_path: Path) -> None:
    net = Net()
    name = net.means()
    for _ in range(3000):
        name = net.add("Add", name, name)
    path = net.give(name).save(tmp_path / "net.onnx")
    with pytest.raises(SettingsError):
        opened(path, ("a", "b", "c"))
