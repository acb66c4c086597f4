"""int8: only when asked, calibrated on frames, and served only where it agrees with float32."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from tests.harness import nanofleet
from tests.tiny import tiny_model
from tests.worker.engines.exports import ROOT, choice_in, read_only
from tests.worker.engines.graphs import Net
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine
from worker.engines.exports.cache import exported
from worker.engines.fastest.candidates import candidates
from worker.engines.fastest.kept import file_of, read, write
from worker.engines.fastest.pictures import drawn
from worker.engines.fastest.places import place_of
from worker.engines.fastest.race import race
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Trial, Verdict
from worker.engines.int8.calibration import LEAST, MOST, calibration_of
from worker.engines.int8.graph import Int8, int8_of
from worker.engines.select import open_model
from worker.models.info import Model
from worker.models.weights import KEPT

SIDE = 32
RECIPE = Preprocessing(resize=SIDE, crop=SIDE)
QUANTISING = "quantising it to int8"


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, in folders of two cameras."""
    folder = tmp_path_factory.mktemp("frames")
    for number, picture in enumerate(drawn((48, 64, 3), LEAST)):
        camera = folder / ("door" if number % 2 else "yard")
        camera.mkdir(exist_ok=True)
        Image.fromarray(picture).save(camera / f"{number:02}.JPG")
    (folder / "notes.txt").write_text("taken in May", encoding="utf-8")
    return folder


def network(path: Path, spoiled: bool = False, width: int = 16) -> Path:
    """uint8 [N, SIDE, SIDE, 3] -> the channel of which a picture has most, by two convolutions.

    Spoiled, a number a thousand times as large as all others comes between them, which nothing depends on.
    """
    net = Net(("N", SIDE, SIDE, 3), onnx.TensorProto.UINT8)
    pixels = net.add("Cast", net.add("Transpose", "x", perm=[0, 3, 1, 2]), to=onnx.TensorProto.FLOAT)
    scaled = net.add("Mul", pixels, net.const(1 / 255))
    first, second, bias = np.zeros((width, 3, 3, 3)), np.zeros((3, width, 3, 3)), np.zeros(width)
    for number in range(1, width):
        first[number, number % 3] = second[number % 3, number] = 1 / 9
    bias[0] = 1e5 if spoiled else 0
    inner = net.add("Relu", net.add("Conv", scaled, net.const(first), net.const(bias), pads=[1] * 4))
    outer = net.add("Conv", inner, net.const(second), pads=[1] * 4)
    flat = net.add("Flatten", net.add("GlobalAveragePool", outer), axis=1)
    return net.give(net.add("Softmax", flat, axis=1)).save(path)


def int8_in(folder: Path, frames: Path, **how: Any) -> Int8:
    export = network(folder / "net.onnx", **how)
    sha256 = hashlib.sha256(export.read_bytes()).hexdigest()
    model = Model(name="net", weights="w", sha256=sha256, classes=("a", "b", "c"), preprocessing=RECIPE)
    return int8_of(ModelChoice(model="net"), model, export, calibration_of(frames))


def raced(int8: Int8, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    monkeypatch.setattr("worker.engines.fastest.race.QUICK", 0)
    subject = Subject(
        choice=ModelChoice(model="net"), sha256="0" * 64, export=int8.export, shape=RECIPE.shape, int8=int8
    )
    folder = int8.export.parent
    return race(subject, candidates("onnxruntime", "int8"), 4, folder, folder / ".race.part")


def opened(folder: Path, frames: Path, **how: Any) -> Tuple[Model, Engine]:
    labels = folder / "three.txt"
    labels.write_text("red\ngreen\nblue\n", encoding="utf-8")
    given = {"engine": "onnxruntime", "device": "cpu", "max_batch": 4, "weights_dir": folder, "race": True}
    given.update({"precision": "int8", "calibration": frames, **how})
    return open_model(choice_in(folder, labels=labels), **given)


def graphs(folder: Path) -> List[Path]:
    return sorted(folder.glob("*.int8.onnx"))


# --- the graph ----------------------------------------------------------------------------------------


def test_layers_but_the_first_compute_in_int8_and_the_softmax_does_not(tmp_path: Path, frames: Path) -> None:
    path = int8_in(tmp_path, frames).made(None)
    nodes = onnx.load(str(path)).graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    fed_by = [(node.op_type, makers.get(node.input[0])) for node in nodes]
    convolutions = [maker for kind, maker in fed_by if kind == "Conv"]
    assert "DequantizeLinear" not in convolutions[:1]
    assert convolutions[1:] == ["DequantizeLinear"]
    assert "QuantizeLinear" not in [kind for kind, maker in fed_by if maker == "Softmax"]
    pictures = drawn((SIDE, SIDE, 3), 50)
    expected, found = (
        onnxruntime.InferenceSession(str(each)).run(None, {"x": pictures})[0]
        for each in (tmp_path / "net.onnx", path)
    )
    assert (found.argmax(1) == expected.argmax(1)).sum() >= 45
    assert not np.array_equal(found, expected)


def test_it_is_made_once_and_again_for_other_frames(
    tmp_path: Path, frames: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = int8_in(tmp_path, frames).made(None)
    before = first.stat().st_ino
    assert int8_in(tmp_path, frames).made(None) == first
    assert (caplog.text.count(QUANTISING), first.stat().st_ino) == (1, before)
    others = tmp_path / "others"
    for number, picture in enumerate(drawn((48, 48, 3), LEAST + 2)[2:]):
        others.mkdir(exist_ok=True)
        Image.fromarray(picture).save(others / f"{number}.png")
    long_ago = time.time() - KEPT - 60
    os.utime(first, (long_ago, long_ago))
    second = int8_in(tmp_path, others).made(None)
    assert second != first
    assert graphs(tmp_path) == [second], "what nobody used for long goes"
    assert list(tmp_path.glob(".*.part")) == []


def test_in_a_read_only_folder_it_is_made_elsewhere(tmp_path: Path, frames: Path) -> None:
    (tmp_path / "nanofleet").mkdir()
    int8 = int8_in(tmp_path / "nanofleet", frames)
    with read_only(tmp_path):
        path = int8.made(None)
    assert path.is_file()
    assert path.name == int8.path.name
    assert graphs(tmp_path / "nanofleet") == []


def test_a_stop_ends_it_and_leaves_nothing(tmp_path: Path, frames: Path) -> None:
    int8 = int8_in(tmp_path, frames)
    stop = threading.Event()
    stop.set()
    with pytest.raises(NanofleetError, match="shut down"):
        int8.prepared(stop)
    assert graphs(tmp_path) == list(tmp_path.glob(".*.part")) == []


def test_where_the_disk_is_full_it_is_made_another_time(small_disk: Path, frames: Path) -> None:
    int8 = int8_in(small_disk, frames, width=3200).prepared(None)  # 0.7 of its 2 MB
    assert "cannot be made: it takes 2 MiB of disk in " in int8.failed
    assert int8.passing
    assert graphs(small_disk) == list(small_disk.glob(".*.part")) == []


def test_where_a_library_is_missing_it_is_made_another_time(
    tmp_path: Path, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8 = int8_in(tmp_path, frames)
    (tmp_path / "onnx.py").write_text("raise ModuleNotFoundError(\"No module named 'onnx'\")")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    failed = int8.prepared(None)
    assert failed.failed == "cannot be made: ModuleNotFoundError: No module named 'onnx'"
    assert failed.passing


# --- the race -----------------------------------------------------------------------------------------


def test_what_agrees_may_win(tmp_path: Path, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    float32, int8 = raced(int8_in(tmp_path, frames).prepared(None), monkeypatch).trials
    assert (int8.precision, int8.failed) == ("int8", "")
    if int8.pictures:  # it was not too slow, without instructions for it
        assert int8.agrees
        assert float32.same > 200, "drawn ones, and frames"


def test_a_graph_that_int8_spoils_is_refused(
    tmp_path: Path, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = place_of("cpu")._replace(slower=100)
    monkeypatch.setattr("worker.engines.fastest.process.place_of", lambda device: patient)
    int8 = int8_in(tmp_path, frames, spoiled=True).prepared(None)
    verdict = raced(int8, monkeypatch)
    assert verdict.winner.precision == "float32"
    assert not verdict.trials[1].agrees
    assert verdict.lasts


def test_what_cannot_be_quantised_is_said_and_another_serves(
    tmp_path: Path, frames: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    int8 = int8_in(tmp_path, frames)
    nothing = tmp_path / "nothing.onnx"
    nothing.write_bytes(b"no graph")
    failed = int8.model_copy(update={"export": nothing}).prepared(None)
    assert "net: its graph in int8 cannot be made: " in caplog.text
    verdict = raced(failed.model_copy(update={"export": int8.export}), monkeypatch)
    assert verdict.winner.precision == "float32"
    assert "; onnxruntime int8 cannot be made: " in verdict.why
    assert verdict.lasts


def test_a_verdict_for_it_serves_it_and_is_of_these_frames_alone(
    folder: Path, frames: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, engine = opened(folder, frames)
    assert "onnxruntime int8 " in engine.why
    (kept,) = (folder / "nanofleet").glob("*.engine")
    (graph,) = graphs(folder / "nanofleet")
    # As if it had been by far the fastest, on whatever machine this is.
    verdict = read(kept)
    assert verdict is not None
    float32, _ = verdict.trials
    fast = Trial(engine="onnxruntime", precision="int8", ms=0.001, pictures=9, same=9, agrees=True)
    write(kept, verdict.model_copy(update={"trials": (float32, fast)}))
    model, engine = opened(folder, frames, race=False)
    assert engine.why.startswith("onnxruntime int8: 0.001 ms of CPU a picture; onnxruntime float32 ")
    pixels = drawn(model.preprocessing.shape, 4)
    (expected,) = onnxruntime.InferenceSession(str(graph)).run(None, {"pixels": pixels})
    np.testing.assert_allclose(engine.infer(pixels), expected, atol=1e-6)
    assert caplog.text.count(QUANTISING) == 1
    # It is made again where it is gone, but not by one that is to leave.
    graph.unlink()
    stop = threading.Event()
    stop.set()
    with pytest.raises(NanofleetError, match="shut down"):
        opened(folder, frames, race=False, stop=stop)
    opened(folder, frames, race=False)
    assert (caplog.text.count(QUANTISING), graphs(graph.parent)) == (3, [graph])
    # Where it does not open, float32 serves, and the next start makes it again.
    graph.write_bytes(b"no graph")
    _, engine = opened(folder, frames, race=False)
    assert "onnxruntime was faster, and cannot be opened" in engine.why
    assert engine.infer(pixels).shape == (4, 3)
    _, engine = opened(folder, frames, race=False)
    np.testing.assert_allclose(engine.infer(pixels), expected, atol=1e-6)
    model, export = exported(choice_in(folder), folder)
    calibration = calibration_of(frames)
    ours, others = (
        int8_of(choice_in(folder), model, export, each)
        for each in (calibration, calibration.model_copy(update={"sha256": "1" * 64}))
    )
    subject = Subject(choice=choice_in(folder), sha256=model.sha256, export=export)
    files = {
        file_of(subject.model_copy(update={"int8": each}), "onnxruntime", "int8", folder)
        for each in (ours, others, None)
    }
    assert len(files) == 3
    assert kept in files


def test_a_file_by_anyone_is_not_quantised(
    tmp_path: Path, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engines.fastest.race.QUICK", 0)
    net = Net()
    path = net.give(net.add("Softmax", net.means(), axis=1)).save(tmp_path / "own.onnx")
    labels = tmp_path / "three.txt"
    labels.write_text("red\ngreen\nblue\n", encoding="utf-8")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    choice = ModelChoice(model=str(path), fit="squeeze", scaling="unit", sha256=sha256, labels=labels)
    _, engine = open_model(
        choice,
        engine="onnxruntime",
        device="cpu",
        max_batch=2,
        weights_dir=tmp_path,
        precision="int8",
        calibration=frames,
        race=True,
    )
    assert "int8 is not tried, because an ONNX file is quantised by who has made it" in engine.why


def test_pytorch_and_cuda_have_none(folder: Path, frames: Path) -> None:
    _, engine = opened(folder, frames, engine="torch")
    assert "; int8 is for onnxruntime and openvino on a CPU" in engine.why
    assert graphs(folder / "nanofleet") == []


# --- frames -------------------------------------------------------------------------------------------


def test_frames_are_taken_from_all_of_a_folder(frames: Path, tmp_path: Path) -> None:
    pictures = calibration_of(frames).pictures(RECIPE)
    assert (pictures.shape, pictures.dtype) == ((LEAST, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_array_equal(calibration_of(frames).pictures(RECIPE), pictures)
    assert len({picture.tobytes() for picture in pictures}) == LEAST
    for number in range(MOST + 50):
        (tmp_path / f"{number:04}.png").write_bytes(b"")
    before = calibration_of(tmp_path).sha256
    (tmp_path / f"{MOST + 48:04}.png").write_bytes(b"another")
    (tmp_path / f"{MOST + 49:04}.png").write_bytes(b"another")
    assert calibration_of(tmp_path).sha256 != before


def test_frames_are_decoded_by_a_decoder_process_as_hostile_ones_may_be_among_them(frames: Path) -> None:
    script = """
import sys
from pathlib import Path
from worker.decode.preprocessing import Preprocessing
from worker.engines.int8.calibration import calibration_of
pictures = calibration_of(Path(sys.argv[1])).pictures(Preprocessing(resize=8, crop=8))
print(len(pictures), "PIL" in sys.modules)
"""
    command = [sys.executable, "-c", script, str(frames)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{LEAST} False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="takes away the right to read everything")
@pytest.mark.parametrize("mode", [0o000, 0o644], ids=oct)
def test_a_folder_that_cannot_be_read_is_named(mode: int, tmp_path: Path) -> None:
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / "1.jpg").write_bytes(b"")

    def read_as_others() -> None:
        for capability in (1, 2) if os.geteuid() == 0 else ():  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    flags = ["--precision", "int8", "--calibration", str(tmp_path)]
    command = [sys.executable, "-m", "fleet", "classify", "x.jpg", *flags]
    (tmp_path / "yard").chmod(mode)
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=read_as_others
    )
    (tmp_path / "yard").chmod(0o755)
    assert done.returncode == 2, done.stderr
    assert f"--calibration {tmp_path / 'yard'}" in done.stderr
    assert "Permission denied" in done.stderr


def test_a_folder_that_will_not_do_is_a_setting_that_is_wrong(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SettingsError, match=f"--calibration {tmp_path / 'no'}: there is no such folder"):
        opened(folder, tmp_path / "no")
    with pytest.raises(SettingsError, match=r"0 pictures .* and it takes 32 or more"):
        opened(folder, tmp_path / "weights" / "nanofleet")
    few = tmp_path / "few"
    few.mkdir()
    for number in range(LEAST):
        (few / f"{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(SettingsError, match="of its pictures 0 can be decoded, and it takes 32 or more"):
        opened(folder, few)
    assert f"{few / '0.jpg'}: not taken to calibrate with" in caplog.text
    assert graphs(folder / "nanofleet") == []


def test_without_frames_it_is_refused_with_what_to_do(tmp_path: Path) -> None:
    done = nanofleet("worker", "--precision", "int8")
    assert done.returncode == 2
    assert "--precision int8 is calibrated with frames of your cameras: --calibration FOLDER" in done.stderr
    done = nanofleet("classify", "x.jpg", "--calibration", str(tmp_path), "--precision", "int8")
    assert done.returncode == 2
    assert f"--calibration {tmp_path}: 0 pictures" in done.stderr
    assert "--calibration" in nanofleet("worker", "--help").stdout


def test_frames_that_another_precision_has_no_use_for_are_left_aside_which_is_said(
    tmp_path: Path, photos: Path
) -> None:
    how = [*tiny_model(), "--engine", "onnxruntime", "--calibration", str(tmp_path)]
    done = nanofleet("classify", str(photos / "coffee.png"), *how, "--precision", "exact")
    assert done.returncode == 0, done.stderr
    assert f"--calibration {tmp_path}: left aside, because of --precision exact" in done.stderr
    done = nanofleet("classify", str(photos / "coffee.png"), *how)
    assert done.returncode == 2
    assert "--calibration: its frames are for --precision int8 alone" in done.stderr
