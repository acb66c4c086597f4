"""`nanofleet models export`: one ONNX file that is served as the model that it was exported from."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import onnx
import pytest
import torch
import torchvision.models as zoo

from fleet.models.export import export as write
from fleet.models.settings import ExportSettings
from tests.harness import nanofleet, processes_of, wait_for
from tests.worker.seeded import spread_out
from wire.errors import SettingsError
from wire.files import locked
from wire.model_choice import ModelChoice
from worker.engines.base import Engine
from worker.engines.onnx.described import KEY
from worker.engines.select import open_model
from worker.models.info import Model

SIDE = ("--crop", "64", "--resize", "72")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of a small network, and names for their classes."""
    folder = tmp_path_factory.mktemp("made")
    for name, outputs in (("three", 3), ("one", 1)):
        torch.manual_seed(0)
        network = zoo.squeezenet1_1(weights=None, num_classes=outputs)
        if outputs > 1:
            spread_out(network, torch.rand(4, 3, 64, 64))
        torch.save(network.state_dict(), folder / f"{name}.pth")
    (folder / "three.txt").write_text("cat\ndog\nnobody\n", encoding="utf-8")
    (folder / "one.txt").write_text("no\nyes\n", encoding="utf-8")
    return folder


def model_of(folder: Path, name: str) -> str:
    return f"squeezenet1_1@{folder / name}.pth"


def export(folder: Path, name: str, file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    given = ["--labels", str(folder / f"{name}.txt"), "--weights-dir", str(folder), *SIDE, *flags]
    return nanofleet("models", "export", model_of(folder, name), str(file), *given)


def opened(model: str, folder: Path, **fields: Any) -> Tuple[Model, Engine]:
    choice = ModelChoice(model=model, **fields)
    return open_model(choice, engine="auto", device="cpu", max_batch=4, weights_dir=folder)


def noise(count: int = 3) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)


OTHER_PIXELS = ["--mean", "0.4,0.5,0.6", "--channels", "bgr", "--fit", "pad", "--interpolation", "bicubic"]
PASSED: List[Tuple[str, List[str], Any]] = [
    ("three", [*OTHER_PIXELS, "--activation", "sigmoid", "--threshold", "0.3"],
     {"mean": (0.4, 0.5, 0.6), "channels": "bgr", "fit": "pad", "interpolation": "bicubic",
      "activation": "sigmoid", "threshold": 0.3}),
    ("one", ["--scaling", "symmetric"], {"scaling": "symmetric"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "flags", "fields"), PASSED, ids=["several labels, other pixels", "one output"]
)
def test_the_file_alone_is_served_as_the_model_with_its_flags(
    name: str, flags: List[str], fields: Any, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "net.onnx"
    done = export(folder, name, file, *flags)
    assert done.returncode == 0, done.stderr
    labels = folder / f"{name}.txt"
    model, engine = opened(model_of(folder, name), folder, labels=labels, crop=64, resize=72, **fields)
    again, alone = opened(str(file), tmp_path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert again.assumed == ()
    aside = {"assumed": (), "sha256": digest, "own_names": model.classes}
    assert again == model.model_copy(update=aside)
    assert (again.name, again.weights) == ("squeezenet1_1", f"{name}.pth")
    pixels = noise()
    np.testing.assert_array_equal(alone.infer(pixels), engine.infer(pixels))
    assert [again.seen(row) for row in alone.infer(pixels)] == [
        model.seen(row) for row in engine.infer(pixels)
    ]


@pytest.fixture(scope="module")
def made(folder: Path) -> Tuple[Path, str]:
    """A file, and what the command said."""
    file = folder / "made" / "three classes.onnx"
    file.parent.mkdir()
    done = export(folder, "three", file)
    assert done.returncode == 0, done.stderr
    assert "scaling by ImageNet's mean and deviation is assumed" in done.stderr
    return file, done.stdout


def test_it_says_what_it_wrote_and_what_to_do_with_it(made: Tuple[Path, str], folder: Path) -> None:
    file, said = made
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"{file}  {file.stat().st_size / 1e6:.1f} MB  squeezenet1_1@three.pth, 3 classes" in said
    assert f"nanofleet worker --model 'three classes.onnx' --sha256 {digest}" in said
    assert opened(str(file), folder, sha256=digest)[0].sha256 == digest
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        opened(str(file), folder, sha256="0" * 64)
    weights = hashlib.sha256((folder / "three.pth").read_bytes()).hexdigest()
    (says,) = [entry.value for entry in onnx.load(str(file)).metadata_props if entry.key == KEY]
    assert weights in says
    assert re.search(r'"origin":"exported by nanofleet [\d.]+ with pytorch [\d.+\w]+"', says)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("size", [0, 100_000])
def test_a_damaged_export_in_the_weights_folder_is_made_anew(
    size: int, made: Tuple[Path, str], folder: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(folder / "nanofleet", weights / "nanofleet")
    for graph in (weights / "nanofleet").glob("*.onnx"):
        os.truncate(graph, size)
    file = tmp_path / "net.onnx"
    done = export(folder, "three", file, "--weights-dir", str(weights))
    assert done.returncode == 0, done.stderr
    assert "exporting it again" in done.stderr
    assert file.read_bytes() == made[0].read_bytes()


def test_flags_go_before_what_the_file_says(made: Tuple[Path, str], folder: Path, tmp_path: Path) -> None:
    path = str(made[0])
    (tmp_path / "others.txt").write_text("a\nb\nc\n", encoding="utf-8")
    given = {"labels": tmp_path / "others.txt", "resize": 64, "fit": "squeeze", "threshold": 0.25}
    model, _ = opened(path, folder, **given)
    assert (model.classes, model.threshold) == (("a", "b", "c"), 0.25)
    assert (model.preprocessing.resize, model.preprocessing.fit) == (64, "squeeze")
    assert ["replace those in three.pth itself" in sentence for sentence in model.assumed] == [True]
    assert "--scaling, --mean and --std are left aside" in opened(path, folder, scaling="unit")[0].assumed[0]
    for fields, says in (
        ({"crop": 32, "resize": 72}, r"--crop 32: .* takes images of 64 x 64 pixels"),
        ({"channels": "gray"}, "--channels gray"),
        ({"activation": "sigmoid"}, "cannot be taken back"),
        ({"resize": 32}, "cannot crop 64 pixels from a side of 32"),
    ):
        with pytest.raises(SettingsError, match=says):
            opened(path, folder, **fields)
    (tmp_path / "others.txt").write_text("dog\ncat\nnobody\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="the same names in another order"):
        opened(path, folder, labels=tmp_path / "others.txt")


def test_what_cannot_be_exported_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    three = model_of(folder, "three")
    for model, file, says in (
        (three, "net.onnx", "three.pth has 3 classes: name them in a file"),
        (three, "net.pth", "FILE: its name must end in .onnx"),
        (three, "no/net.onnx", "there is no folder"),
        ("squeezenet11", "net.onnx", "did you mean squeezenet1_1"),
        ("net.onnx", "other.onnx", "net.onnx is an ONNX file already"),
        ("net.tflite", "net.onnx", "a TensorFlow Lite model"),
    ):
        arguments = [model, file, "--weights-dir", str(folder), *SIDE]
        done = nanofleet("models", "export", *arguments, cwd=str(tmp_path))
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_flags_that_no_file_can_hold_are_refused_before_the_export(folder: Path, tmp_path: Path) -> None:
    many, long = tmp_path / "many.txt", tmp_path / "long.txt"
    many.write_text("\n".join(map(str, range(100_001))), encoding="utf-8")
    long.write_text("\n".join(f"{number:x>255}" for number in range(36_000)), encoding="utf-8")
    file, weights = tmp_path / "net.onnx", tmp_path / "weights"
    for flags, says in (
        ({"mean": "2000000,0,0"}, "mean: each below 1000000"),
        ({"std": "0.0000001,1,1"}, "std: each above 0.000001"),
        ({"labels": many}, "at most 100000 items"),
        ({"labels": long}, "give it shorter --labels"),
    ):
        with pytest.raises(SettingsError, match=f"squeezenet.*no file can .*{says}"):
            write(ExportSettings(model=model_of(folder, "three"), file=file, weights_dir=weights, **flags))
    assert not file.exists()
    assert not weights.exists()


def test_a_file_that_would_not_be_served_is_not_written(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    done = export(folder, "three", file, "--activation", "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--activation none" in done.stderr
    assert "are no probabilities" in done.stderr
    assert "Traceback" not in done.stderr
    assert not file.exists()


def test_a_link_and_a_mode_stay(made: Tuple[Path, str], folder: Path, tmp_path: Path) -> None:
    former, link = tmp_path / "former.onnx", tmp_path / "links" / "net.onnx"
    former.write_bytes(b"the former one")
    former.chmod(0o660)
    link.parent.mkdir()
    link.symlink_to(former)
    done = export(folder, "three", link)
    assert done.returncode == 0, done.stderr
    assert link.is_symlink()
    assert former.read_bytes() == made[0].read_bytes()
    assert former.stat().st_mode & 0o777 == 0o660
    assert [path.name for path in link.parent.iterdir()] == ["net.onnx"]


def test_what_can_be_no_file_is_refused_before_the_export(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    (tmp_path / "net.onnx").mkdir()
    (tmp_path / "null.onnx").symlink_to("/dev/null")
    for name, says in (
        ("net.onnx", "is a folder"),
        ("null.onnx", "is no file"),
        (f"{'x' * 300}.onnx", "cannot be written: File name too long"),
    ):
        with pytest.raises(SettingsError, match=rf"{name} {says}"):
            write(ExportSettings(model=model_of(folder, "three"), file=tmp_path / name, weights_dir=weights))
    assert not weights.exists()


def waits_for_a_lock(pid: int) -> bool:
    return f"-> FLOCK  ADVISORY  WRITE {pid} " in Path("/proc/locks").read_text(encoding="ascii")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_exports_to_one_file_write_one_after_the_other(
    made: Tuple[Path, str], folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "net.onnx"
    given = ["--labels", str(folder / "three.txt"), "--weights-dir", str(folder), *SIDE]
    command = [
        sys.executable,
        "-m",
        "fleet",
        "models",
        "export",
        model_of(folder, "three"),
        str(file),
        *given,
    ]
    with locked(tmp_path):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: waits_for_a_lock(process.pid) or process.poll() is not None, what="the lock")
        assert process.poll() is None
        assert list(tmp_path.iterdir()) == []
    said, _ = process.communicate()
    assert process.returncode == 0
    assert hashlib.sha256(file.read_bytes()).hexdigest() in said


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_leaves_what_was_there(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"the former one")
    weights = tmp_path / "weights"
    arguments = [model_of(folder, "three"), str(file), "--weights-dir", str(weights)]
    command = [sys.executable, "-m", "fleet", "models", "export", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        wait_for(lambda: processes_of("worker.engines.exports.process", weights), what="the export")
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()
    assert process.returncode == 130, said
    assert said[0] == ""
    assert "Traceback" not in said[1]
    assert file.read_bytes() == b"the former one"
    left = [path for path in weights.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "weights"}
