"""On CUDA, too, the fastest that agrees serves: PyTorch against ONNX Runtime, in a process each."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Tuple, cast

import numpy as np
import onnxruntime
import pytest
import torch

from tests.worker.engines.exports import ROOT, choice_in, labels_in
from tests.worker.engines.graphs import Net
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, Pick
from worker.engines.exports.cache import exported
from worker.engines.fastest.candidates import Candidate, candidates
from worker.engines.fastest.choosing import Wish, open_fastest
from worker.engines.fastest.gpu import gpu
from worker.engines.fastest.kept import file_of, read, write
from worker.engines.fastest.pictures import drawn
from worker.engines.fastest.process import _batches, _is_passing
from worker.engines.fastest.race import race
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Trial, Verdict
from worker.engines.installed import CUDA, TENSORRT, cuda_libraries, releases
from worker.engines.onnx.file import open_onnx
from worker.engines.onnx_engine import _first_session
from worker.engines.picking import pick_engine
from worker.engines.select import open_model
from worker.engines.sessions import DeviceUnusable, open_session
from worker.models.info import Model

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
both_on_cuda = pytest.mark.skipif(
    not torch.cuda.is_available() or len(cuda_libraries()) < 2,
    reason="no CUDA device, or no onnxruntime for it",
)
BY_NAME = Pick("onnxruntime", "cuda", "the fastest on CUDA if TensorRT is there; cuda: asked for", "float16")


def subject_in(folder: Path, device: str) -> Subject:
    choice = choice_in(folder)
    model, path = exported(choice, folder)
    shape = model.preprocessing.shape
    return Subject(choice=choice, device=device, sha256=model.sha256, export=path, shape=shape)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries are built for CUDA, as far as their builds say."""
    monkeypatch.setattr("worker.engines.fastest.candidates.cuda_libraries", lambda: ["torch", "onnxruntime"])
    monkeypatch.setattr("worker.engines.picking.cuda_libraries", lambda: ["torch", "onnxruntime"])
    monkeypatch.setattr("worker.engines.picking.providers", lambda: [TENSORRT, CUDA])


# --- who takes part -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("torch_says", "providers", "found"),
    [
        ("cuda: Optional[str] = '13.0'", [TENSORRT, CUDA], "torch onnxruntime"),
        ("cuda = '10.2'", [], "torch"),
        ("cuda: Optional[str] = None", [CUDA], "onnxruntime"),
        (None, [CUDA], "onnxruntime"),
    ],
)
def test_what_is_built_for_cuda_is_seen_without_importing_pytorch(
    torch_says: Any, providers: List[str], found: str, tmp_path: Path
) -> None:
    """Nor is it asked before a race: it would take memory on the device that others are to be tried on."""
    fakes = {
        "torch": {"__init__": "raise RuntimeError('imported')", "version": f"debug = False\n{torch_says}"},
        "onnxruntime": {"__init__": f"def get_available_providers(): return {providers}"},
    }
    for package, modules in fakes.items():
        (tmp_path / package).mkdir()
        for name, content in modules.items():
            (tmp_path / package / f"{name}.py").write_text(f"{content}\n", encoding="utf-8")
    if torch_says is None:
        (tmp_path / "torch" / "version.py").unlink()
    script = (
        "from worker.engines.picking import pick_engine, cuda_libraries; "
        "found = cuda_libraries(); print(*found); "
        "print(pick_engine('auto', 'cuda', False).engine if 'onnxruntime' in found else 'torch')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    by_name = "onnxruntime" if TENSORRT in providers or found == "onnxruntime" else "torch"
    assert done.stdout.splitlines() == [found, by_name]


def test_who_takes_part_on_cuda(both: None, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(each) for each in candidates("auto", "half", "cuda:1")]
    assert names == ["torch float32", "torch float16", "onnxruntime float32", "onnxruntime float16"]
    assert [str(each) for each in candidates("auto", "exact", "cuda")] == names[::2]
    assert candidates("torch", "half", "cuda") == candidates("onnxruntime", "half", "cuda") == []
    monkeypatch.setattr("worker.engines.fastest.candidates.cuda_libraries", lambda: ["torch"])
    assert candidates("auto", "half", "cuda") == []


def test_without_tensorrt_the_default_is_pytorch_unasked(both: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engines.picking.providers", lambda: [CUDA])
    pick = pick_engine("auto", "cuda:7", False)
    assert (pick.engine, pick.device) == ("torch", "cuda:7")
    assert pick.why.startswith("half precision; onnxruntime is not built with TensorRT; cuda:7: ")


def test_pictures_run_in_each_size_of_batch() -> None:
    pictures = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    assert [len(batch) for batch in _batches(pictures, [1, 2, 4])] == [1, 2, 4, 1, 2, 2]
    assert [len(batch) for batch in _batches(pictures, [4])] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(_batches(pictures, [5])), pictures)


def test_on_cuda_an_export_runs_in_the_sizes_that_are_warm(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch of another size would take seconds. Here a CPU's session runs them."""
    subject = subject_in(folder, "cuda")
    session = open_session(subject.files[0], Pick("onnxruntime", "cpu", ""), folder)
    ran: List[int] = []

    def run(names: None, feed: Dict[str, Any]) -> List[Any]:
        ran.append(len(feed["pixels"]))
        return session.run(names, feed)

    seen = SimpleNamespace(run=run, get_inputs=session.get_inputs, get_providers=lambda: [CUDA])
    monkeypatch.setattr("worker.engines.export_engine.open_session", lambda *_, **how: seen)
    kind, engine = subject.open(Pick("onnxruntime", "cuda", "tried", "float16"), 6, folder)
    assert engine.why == "tried; CUDA without TensorRT, in float32 or TF32"
    engine.warm_up()
    assert ran == [1, 6, 4, 2, 1]
    pictures = drawn(kind.shape, 8)
    expected = session.run(None, {"pixels": pictures})[0]
    for count in (3, 5, 6, 8):
        np.testing.assert_allclose(engine.infer(pictures[:count]), expected[:count], atol=1e-5)
    assert ran[5:] == [4, 6, 6, 6, 2]


def test_on_cuda_an_onnx_file_runs_in_the_sizes_that_are_warm_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    path = net.give(net.add("Softmax", net.means(), axis=1)).save(tmp_path / "net.onnx")
    choice = ModelChoice(model=str(path), labels=labels_in(tmp_path), fit="squeeze", scaling="unit")
    session = open_session(path, Pick("onnxruntime", "cpu", ""), tmp_path)
    ran: List[int] = []

    def run(names: None, feed: Dict[str, Any], options: Any) -> List[Any]:
        ran.append(len(feed["x"]))
        return session.run(names, feed, options)

    has = {"get_inputs": session.get_inputs, "get_outputs": session.get_outputs}
    seen = SimpleNamespace(run=run, get_providers=lambda: [CUDA], **has)
    monkeypatch.setattr("worker.engines.onnx.file.open_session", lambda *_, **how: seen)
    model, engine = open_onnx(choice, Pick("onnxruntime", "cuda", "tried", "float16"), 6, tmp_path)
    ran.clear()
    engine.warm_up()
    assert ran == [1, 6, 4, 2, 1]
    pictures = drawn(model.preprocessing.shape, 8)
    expected = np.concatenate([engine.infer(picture[None]) for picture in pictures])
    for count, sizes in ((3, [4]), (5, [6]), (6, [6]), (8, [6, 2])):
        ran.clear()
        np.testing.assert_allclose(engine.infer(pictures[:count]), expected[:count], atol=1e-5)
        assert ran == sizes


def test_a_session_has_the_first_providers_that_can_be_had_and_says_why_not_those_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Older releases would go on to others by themselves, with lines on stdout, and keep the reason."""
    net = Net()
    path = net.give(net.add("Softmax", net.means(), axis=1)).save(tmp_path / "net.onnx")
    unusable, usable = [("CPUExecutionProvider", 5)], ["CPUExecutionProvider"]
    choices = cast(Any, [unusable, usable, usable])
    session, reason = _first_session(str(path), onnxruntime.SessionOptions(), choices)
    assert session.get_providers() == usable
    assert isinstance(reason, ValueError)
    assert capfd.readouterr().out == ""


# --- the verdict --------------------------------------------------------------------------------------


def cuda_verdict(**how: Any) -> Verdict:
    fits = {"pictures": 100, "same": 100, "agrees": True}
    trials = (
        Trial(engine="torch", precision="float32", note="CUDA graphs", ms=0.2, **fits),
        Trial(engine="torch", precision="float16", note="CUDA graphs", ms=0.1, **fits),
        Trial(engine="onnxruntime", precision="float32", failed="cannot use device cuda"),
    )
    return Verdict(releases=releases("cuda"), unit="ms a picture", trials=trials, **how)


def test_the_verdict_says_what_the_clock_says() -> None:
    assert cuda_verdict().why == (
        "torch float16: 0.1 ms a picture; torch float32 (CUDA graphs) 0.2; "
        "onnxruntime float32 cannot use device cuda; agrees with float32 on 100 of 100"
    )


def test_a_verdict_is_of_one_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(device: str) -> Path:
        return file_of(subject_in(folder, device), "auto", "half", folder)

    found = {place("cpu")}
    for says in (
        [],
        ["CUDA 13000", "NVIDIA H200"],
        ["CUDA 13000", "NVIDIA H100"],
        ["CUDA 12060", "NVIDIA H100"],
    ):
        monkeypatch.setattr("worker.engines.fastest.kept.gpu", lambda device, says=says: says)
        assert place("cuda") == place("cuda:1") not in found
        found.add(place("cuda"))
    assert "torch" in releases("cuda")
    assert "torch" not in releases()


@without_cuda
def test_a_driver_that_is_not_there_says_nothing() -> None:
    assert gpu("cuda:1") == []


def a_driver(monkeypatch: pytest.MonkeyPatch, starts: bool, devices: int) -> None:
    """One that starts, or finds no device to start with, and has so many."""
    says = SimpleNamespace(
        cuInit=lambda flags: 0 if starts else 100,
        cuDriverGetVersion=lambda number: 1,
        cuDeviceGet=lambda handle, number: 0 if number < devices else 101,
    )
    monkeypatch.setattr("worker.engines.fastest.gpu._driver", lambda: says)


@pytest.mark.parametrize("by_name", [TENSORRT, CUDA])  # the default is ONNX Runtime, or PyTorch
@pytest.mark.parametrize("starts", [False, True])
def test_where_the_driver_shows_no_device_the_cpu_is_picked_unasked(
    by_name: str, starts: bool, both: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `CUDA_VISIBLE_DEVICES=""`: PyTorch is not even imported for it."""
    monkeypatch.setattr("worker.engines.picking._CUDA_NODES", ("/dev/null",))
    monkeypatch.setattr("worker.engines.picking.providers", lambda: [by_name, CUDA])
    a_driver(monkeypatch, starts, devices=0)
    assert pick_engine("auto", "auto", False)[:2] == ("onnxruntime", "cpu")
    a_driver(monkeypatch, True, devices=1)
    assert pick_engine("auto", "auto", False).device == "cuda"


def test_no_race_is_held_on_a_device_that_the_driver_does_not_have(
    folder: Path, both: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_driver(monkeypatch, True, devices=3)
    monkeypatch.setattr("worker.engines.fastest.choosing.race", lambda *_: pytest.fail("it was held"))
    wish = Wish("auto", "half", 4, folder, True, None)
    default = BY_NAME._replace(device="cuda:3")
    picks: List[Pick] = []
    open_fastest(subject_in(folder, "cuda:3"), default, wish, lambda pick: cast(Any, picks.append(pick)))
    assert [pick.why.partition(" with ")[0] for pick in picks] == ["not compared yet"]


def picks_with(folder: Path, default: Pick, unusable: str = "") -> List[Pick]:
    """What a model is opened with, where a library cannot use the device and there is no time for a race."""
    picks: List[Pick] = []

    def open_it(pick: Pick) -> Tuple[Model, Engine]:
        picks.append(pick)
        if pick.engine == unusable:
            raise DeviceUnusable("no card")
        return cast(Any, None)

    wish = Wish("auto", "half", 4, folder, False, None)
    open_fastest(subject_in(folder, default.device), default, wish, open_it)
    return picks


def test_without_a_verdict_the_default_by_name_serves_and_says_so(folder: Path, both: None) -> None:
    (pick,) = picks_with(folder, BY_NAME)
    assert pick == BY_NAME._replace(why="not compared yet with torch float16; cuda: asked for")
    (pick,) = picks_with(folder, BY_NAME._replace(engine="torch"))
    assert pick.why == "not compared yet with onnxruntime float16; cuda: asked for"


def test_a_kept_verdict_decides_on_cuda(folder: Path, both: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engines.fastest.kept.gpu", lambda device: ["NVIDIA H200"])
    file = file_of(subject_in(folder, "cuda"), "auto", "half", folder)
    write(file, cuda_verdict(file=file.name))
    (pick,) = picks_with(folder, BY_NAME)
    assert pick == Pick("torch", "cuda", f"{cuda_verdict().why}; cuda: asked for", "float16")
    *_, last = picks_with(folder, BY_NAME, unusable="torch")
    assert last == BY_NAME._replace(why=f"torch was faster, and cannot be opened; {BY_NAME.why}")
    monkeypatch.setattr("worker.engines.fastest.kept.gpu", lambda device: ["NVIDIA H100"])
    assert picks_with(folder, BY_NAME)[0].engine == "onnxruntime"


# --- with real children -------------------------------------------------------------------------------


def test_pytorch_is_tried_as_any_candidate(folder: Path) -> None:
    """On a CPU, where no card has to be there; `candidates` does not name it for that."""
    entrants = [Candidate("torch"), Candidate("onnxruntime")]
    verdict = race(subject_in(folder, "cpu"), entrants, 4, folder, folder / ".race.part")
    torchs, onnxruntimes = verdict.trials
    assert torchs.agrees
    assert (onnxruntimes.agrees, onnxruntimes.same) == (True, torchs.same), verdict.why
    assert verdict.lasts


@without_cuda
def test_where_no_card_is_nothing_is_compared_and_the_cpu_serves(
    folder: Path, both: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container that was not given its GPU, and has the driver's device files."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("worker.engines.picking._CUDA_NODES", ("/dev/null",))
    monkeypatch.setattr("worker.engines.fastest.candidates.has_openvino", lambda: False)
    how: Any = {"engine": "auto", "max_batch": 4, "weights_dir": folder, "race": True}
    _, engine = open_model(choice_in(folder, labels=labels_in(folder)), **how)
    assert (engine.name, engine.device) == ("onnxruntime", "cpu")
    (compared,) = [line for line in caplog.messages if "the engines cannot be compared: " in line]
    torch_says, onnxruntime_says = compared.partition("compared: ")[2].split("; ", 1)
    assert torch_says.startswith("torch float32 PyTorch cannot use device cuda: ")
    assert onnxruntime_says.startswith("onnxruntime float32 onnxruntime cannot use device cuda")
    assert "float16" not in compared  # if not in float32, then not in less
    (file,) = (folder / "nanofleet").glob("*.engine")
    verdict = read(file, "cuda")
    assert verdict is not None
    assert verdict.lasts_for_a_day  # somebody may put right what is wrong
    before = len(caplog.messages)
    assert open_model(choice_in(folder, labels=labels_in(folder)), **how)[1].device == "cpu"
    assert not [line for line in caplog.messages[before:] if "finding out" in line]
    with pytest.raises(DeviceUnusable, match="device cuda:3"):
        open_model(choice_in(folder, labels=labels_in(folder)), device="cuda:3", **{**how, "race": False})


def test_too_little_memory_on_the_device_may_be_gone_the_next_time() -> None:
    error = DeviceUnusable("onnxruntime cannot use device cuda")
    assert not _is_passing(error)
    error.__cause__ = RuntimeError("CUDA failure 2: out of memory")
    assert _is_passing(error)
    assert _is_passing(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))


@both_on_cuda
@pytest.mark.parametrize("precision", ["half", "exact"])
def test_the_fastest_that_agrees_serves_on_cuda(
    precision: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    how: Any = {
        "engine": "auto",
        "device": "cuda",
        "max_batch": 4,
        "weights_dir": folder,
        "precision": precision,
    }
    _, engine = open_model(choice_in(folder, labels=labels_in(folder)), race=True, **how)
    print(engine.why)
    assert " ms a picture; " in engine.why
    assert ("float16" in engine.why) is (precision == "half")
    (file,) = (folder / "nanofleet").glob("*.engine")
    verdict = read(file, "cuda")
    assert verdict is not None
    assert {trial.engine for trial in verdict.trials if trial.agrees} == {"torch", "onnxruntime"}, verdict.why
    assert (engine.name, engine.device) == (verdict.winner.engine, "cuda")
    before = len(caplog.messages)
    assert open_model(choice_in(folder, labels=labels_in(folder)), race=True, **how)[1].why == engine.why
    assert not [line for line in caplog.messages[before:] if "finding out" in line]
