"""Weights in files of their own: they are the model as much as the .onnx is."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from tests.worker.engines.graphs import SIDE, Net, opened, pictures, softmax
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.engines.opened import files_of
from worker.engines.select import open_model

NAMES = ("a", "b", "c")
PIXELS: Dict[str, Any] = {"scaling": "unit", "fit": "squeeze"}
MATRIX = np.diag([2.0, 5.0, 3.0]).astype(np.float32)


def net() -> onnx.ModelProto:
    graph = Net()
    product = graph.add("MatMul", graph.means(), graph.const(MATRIX))
    return graph.give(graph.add("Add", product, graph.const([0.1, 0.2, 0.3]))).proto()


def save(folder: Path, location: str = "net.onnx.data", one_file: bool = True) -> Path:
    """The net with its weights in one file, or in one for each."""
    folder.mkdir(parents=True, exist_ok=True)
    model = net()
    convert_model_to_external_data(model, one_file, location if one_file else None, size_threshold=0)
    onnx.save(model, str(folder / "net.onnx"))
    return folder / "net.onnx"


def pointing_to(folder: Path, location: str) -> Path:
    """The net with a weight that lies, by its own account, at a location."""
    path = save(folder)
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def external_of(path: Path) -> List[Path]:
    return sorted(each for each in path.parent.iterdir() if each.suffix not in (".onnx", ".txt"))


@pytest.mark.parametrize("one_file", [True, False])
def test_it_is_served_and_each_of_its_files_counts(one_file: bool, tmp_path: Path) -> None:
    path = save(tmp_path, one_file=one_file)
    external = external_of(path)
    assert len(external) == (1 if one_file else 2)
    model, engine = opened(path, NAMES, **PIXELS)
    shown = pictures(3)
    right = softmax((shown / 255.0).mean((1, 2)) @ MATRIX + [0.1, 0.2, 0.3])
    np.testing.assert_allclose(engine.infer(shown), right, atol=1e-4)

    assert opened(path, NAMES, sha256=model.sha256, **PIXELS)[0] == model
    alone = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        opened(path, NAMES, sha256=alone, **PIXELS)
    choice = ModelChoice(model=str(path))
    for file in (path, *external):
        before, content = files_of(choice), file.read_bytes()
        assert len(before) == 1 + len(external)
        swapped = bytearray(content)
        swapped[-1] ^= 1
        file.unlink()
        file.write_bytes(bytes(swapped))
        assert files_of(choice) != before
        with pytest.raises(SettingsError):
            opened(path, NAMES, sha256=model.sha256, **PIXELS)
        file.write_bytes(content)
    assert opened(path, NAMES, sha256=model.sha256, **PIXELS)[0].sha256 == model.sha256


def test_the_hash_is_what_a_shell_makes_of_it(tmp_path: Path) -> None:
    path = save(tmp_path, one_file=False)
    names = " ".join(str(each) for each in [path, *external_of(path)])
    command = f"sha256sum {names} | cut -c1-64 | sha256sum | cut -c1-64"
    made = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout.strip()
    assert opened(path, NAMES, **PIXELS)[0].sha256 == made
    with pytest.raises(SettingsError) as raised:
        opened(path, NAMES, sha256="0" * 64, **PIXELS)
    assert made in str(raised.value)
    assert "| cut -c1-64 | sha256sum" in str(raised.value)


def test_without_external_data_it_is_the_files_own_hash(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(net().SerializeToString())
    assert opened(path, NAMES, **PIXELS)[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(files_of(ModelChoice(model=str(path)))) == 1


def test_what_is_missing_or_short_is_named(tmp_path: Path) -> None:
    path = save(tmp_path)
    (data,) = external_of(path)
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    with pytest.raises(SettingsError, match=r"bytes of weights in net\.onnx\.data, and .* are there"):
        opened(path, NAMES, **PIXELS)
    data.unlink()
    with pytest.raises(
        SettingsError, match=r"keeps its weights in net\.onnx\.data, which is not there: copy it"
    ):
        opened(path, NAMES, **PIXELS)


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "a/../../secret", "linked", "way/secret", ""]
)
def test_weights_lie_below_the_files_own_folder(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    path = pointing_to(folder, location)
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    (folder / "linked").symlink_to(tmp_path / "secret")
    (folder / "way").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="not below its own folder"):
        opened(path, NAMES, **PIXELS)


def test_weights_in_a_folder_below_are_found(tmp_path: Path) -> None:
    path = pointing_to(tmp_path, "weights/net.data")
    (tmp_path / "weights").mkdir()
    (tmp_path / "net.onnx.data").rename(tmp_path / "weights" / "net.data")
    shown = pictures(2)
    right = softmax((shown / 255.0).mean((1, 2)) @ MATRIX + [0.1, 0.2, 0.3])
    np.testing.assert_allclose(opened(path, NAMES, **PIXELS)[1].infer(shown), right, atol=1e-4)
    assert len(files_of(ModelChoice(model=str(path)))) == 2


def test_a_choice_from_the_control_topic_stays_below_the_weights_folder(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "outside").write_bytes(b"\0" * 4096)
    (tmp_path / "weights" / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    choice = ModelChoice(model="net.onnx", labels=Path("labels.txt"), scaling="unit")
    pointing_to(tmp_path / "weights", "../outside")
    with pytest.raises(SettingsError, match="not below its own folder"):
        open_choice(choice.below(tmp_path / "weights"))
    save(tmp_path / "weights")
    model, _ = open_choice(choice.below(tmp_path / "weights"))
    assert model.classes == NAMES


def open_choice(choice: ModelChoice) -> Any:
    return open_model(choice, engine="auto", device="cpu", max_batch=1, weights_dir=Path(choice.model).parent)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_that_is_written_into_does_not_change_what_is_served(pinned: bool, tmp_path: Path) -> None:
    # A Mul by a picture of weights: onnxruntime copies what it multiplies matrices with.
    graph = Net()
    product = graph.add("Mul", "x", graph.const(np.ones((3, SIDE, SIDE))))
    model = graph.give(graph.add("ReduceMean", product, axes=[2, 3], keepdims=0)).proto()
    convert_model_to_external_data(model, True, "net.onnx.data", size_threshold=0)
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    pin = {"sha256": opened(path, NAMES, **PIXELS)[0].sha256} if pinned else {}
    _, engine = opened(path, NAMES, **PIXELS, **pin)
    shown = pictures(3)
    before = engine.infer(shown)
    with (tmp_path / "net.onnx.data").open("r+b") as file:
        file.write(np.full((3, SIDE, SIDE), [[[9.0]], [[0.0]], [[5.0]]], np.float32).tobytes())
    np.testing.assert_array_equal(engine.infer(shown), before)
    (tmp_path / "net.onnx.data").write_bytes(b"")
    np.testing.assert_array_equal(engine.infer(shown), before)


def test_what_cannot_be_held_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path)
    monkeypatch.setattr("worker.engines.onnx.files.LARGEST", 100)
    with pytest.raises(SettingsError, match="half precision"):
        opened(path, NAMES, **PIXELS)


@pytest.mark.parametrize("location", ["a\0b", "a" * 300, "", "."])
def test_a_name_that_no_file_can_have_is_refused(location: str, tmp_path: Path) -> None:
    path = pointing_to(tmp_path, location)
    with pytest.raises(SettingsError, match="not below its own folder"):
        opened(path, NAMES, **PIXELS)
    assert len(files_of(ModelChoice(model=str(path)))) in (1, 2)  # and looks for no other


@pytest.mark.parametrize("where", ["constant", "branch"])
def test_a_weight_anywhere_in_the_graph_counts(where: str, tmp_path: Path) -> None:
    graph = Net()
    tensor = numpy_helper.from_array(MATRIX, "matrix")
    make = helper.make_node("Constant", [], ["m"], value=tensor)
    if where == "branch":
        output = helper.make_tensor_value_info("m", onnx.TensorProto.FLOAT, [3, 3])
        branch = helper.make_graph([make], "branch", [], [output])
        make = helper.make_node(
            "If", [graph.const(True, bool)], ["chosen"], then_branch=branch, else_branch=branch
        )
    graph.nodes.append(make)
    graph.give(graph.add("MatMul", graph.means(), make.output[0]))
    model = graph.proto()
    for tensor in tensors(model.graph.node):
        (tmp_path / "matrix.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="matrix.bin")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert len(files_of(ModelChoice(model=str(tmp_path / "net.onnx")))) == 2


def tensors(nodes: Sequence[Any]) -> List[Any]:
    found = []
    for node in nodes:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += tensors(attribute.g.node) if attribute.HasField("g") else []
    return found
