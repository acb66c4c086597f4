"""The fastest engine that agrees serves: found by trial, in child processes, and known the next time."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.fleets import Fleet
from tests.harness import nanofleet, processes_of, statuses, wait_for
from tests.worker.engines.exports import ROOT, choice_in, labels_in, read_only
from tests.worker.engines.graphs import Net
from tests.worker.engines.hostile import endless
from tests.worker.engines.libraries import library, needs_openvino, release
from tests.worker.photos import FOLDER, PHOTOS
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import Engine
from worker.engines.exports.cache import exported
from worker.engines.fastest.candidates import candidates
from worker.engines.fastest.kept import file_of, read
from worker.engines.fastest.race import race
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Verdict
from worker.engines.select import open_model
from worker.engines.trial import tried
from worker.models.info import Model

RACES = "finding out what runs it fastest"


def raced(folder: Path) -> Verdict:
    choice = choice_in(folder)
    model, path = exported(choice, folder)
    subject = Subject(choice=choice, sha256=model.sha256, export=path, shape=model.preprocessing.shape)
    return race(subject, candidates("auto", "half"), 4, folder, folder / ".race.part")


def opened(folder: Path, **how: Any) -> Tuple[Model, Engine]:
    given = {"engine": "auto", "device": "cpu", "max_batch": 4, "weights_dir": folder, "race": True, **how}
    return open_model(choice_in(folder, labels=labels_in(folder)), **given)


def kept(folder: Path) -> List[Path]:
    return list((folder / "nanofleet").glob("*.engine"))


# --- what a library may do ----------------------------------------------------------------------------


def test_the_fastest_is_taken(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, "is right", monkeypatch)
    verdict = raced(folder)
    assert verdict.winner.engine == "openvino"
    tried_ones = [(trial.engine, trial.precision) for trial in verdict.trials]
    # This processor, says the library, has no instructions for bfloat16.
    assert tried_ones == [("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "float16")]
    assert verdict.winner.same == verdict.winner.pictures > 0


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("is wrong", r"openvino float32 [\d.e-]+, but agrees with float32 on \d+ of \d+ only"),
        ("crashes", r"openvino float32 crashed \(SIGILL\)$"),
        ("is greedy", "openvino float32 wants too much memory$"),
    ],
)
def test_what_answers_wrongly_or_does_not_run_is_not_taken(
    behaviour: str, says: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, behaviour, monkeypatch)
    verdict = raced(folder)
    assert verdict.winner.engine == "onnxruntime"
    assert re.search(says, verdict.why), verdict.why


def test_a_library_that_fails_in_one_precision_is_tried_in_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "refuses float16", monkeypatch)
    *_, half, other = raced(folder).trials
    assert (half.precision, other.precision) == ("float16", "bfloat16")
    assert "no kernel" in half.failed
    assert "no kernel" not in other.failed


def test_what_costs_next_to_nothing_is_not_made_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "is right", monkeypatch)
    net = Net()
    path = net.give(net.add("Softmax", net.means(), axis=1)).save(tmp_path / "net.onnx")
    choice = ModelChoice(model=str(path), labels=labels_in(tmp_path), fit="squeeze", scaling="unit")
    with tried(
        choice, trusted=False, engine="auto", device="cpu", max_batch=2, weights_dir=tmp_path, seconds=60
    ) as pinned:
        _, engine = open_model(
            pinned, engine="auto", device="cpu", max_batch=2, weights_dir=tmp_path, race=True
        )
    assert re.fullmatch(r"onnxruntime float32: [\d.e-]+ ms of CPU a picture; cpu: asked for", engine.why), (
        engine.why
    )


def test_of_pictures_with_one_label_16_bits_are_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector of rare defects, say: what rounding does to it no drawn picture would show."""
    library(tmp_path, "is right", monkeypatch)
    monkeypatch.setattr("worker.engines.fastest.race.QUICK", 0)
    net = Net()
    always = net.add("Add", net.means(), net.const([2.0, 0.0, 0.0]))
    path = net.give(net.add("Softmax", always, axis=1)).save(tmp_path / "net.onnx")
    choice = ModelChoice(model=str(path), labels=labels_in(tmp_path), fit="squeeze", scaling="unit")
    subject = Subject(choice=choice, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    verdict = race(subject, candidates("auto", "half"), 4, tmp_path, tmp_path / ".race.part")
    assert [trial.precision for trial in verdict.trials] == ["float32", "float32", "float16"]
    assert "openvino float16 is not tried, because float32 gives all drawn pictures the same" in verdict.why
    assert verdict.winner.precision == "float32"
    assert verdict.lasts


# --- known the next time ------------------------------------------------------------------------------


def test_a_second_start_has_no_race_until_a_library_is_another(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    library(tmp_path, "crashes", monkeypatch)
    why = opened(folder)[1].why
    assert re.fullmatch(
        r"onnxruntime float32: [\d.]+ ms of CPU a picture; openvino float32 crashed \(SIGILL\); cpu: .*",
        why,
    ), why
    (file,) = kept(folder)
    before = file.read_bytes()
    assert caplog.text.count(RACES) == 1
    assert opened(folder)[1].why == why
    assert opened(folder, race=False)[1].why == why
    assert (caplog.text.count(RACES), file.read_bytes()) == (1, before)
    release(tmp_path / "library", "2.0")
    opened(folder)
    assert caplog.text.count(RACES) == 2
    assert kept(folder) == [file]
    assert b'"2.0"' in file.read_bytes()
    # What others may write decides nothing.
    file.chmod(0o666)
    opened(folder)
    assert caplog.text.count(RACES) == 3
    file.write_bytes(b"{")
    file.chmod(0o644)
    opened(folder)
    assert caplog.text.count(RACES) == 4


def test_a_library_that_pip_has_half_removed_keeps_nobody_from_serving(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pip leaves where it is interrupted, or finds files that it does not know, says no release."""
    library(tmp_path, "crashes", monkeypatch)
    (tmp_path / "library" / "onnxruntime-1.0.dist-info").mkdir()
    assert opened(folder)[1].name == "onnxruntime"
    assert kept(folder)


def test_a_verdict_on_another_model_or_another_graph_is_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As another user can place one, where several may write; or another PyTorch has exported."""
    caplog.set_level(logging.INFO)
    library(tmp_path, "crashes", monkeypatch)
    opened(folder)
    (file,) = kept(folder)
    elsewhere = file.rename(tmp_path / "kept")
    file.symlink_to(elsewhere)
    opened(folder)
    assert caplog.text.count(RACES) == 2
    assert not file.is_symlink()
    (folder / "nanofleet" / "other.engine").write_bytes(file.read_bytes())
    assert read(file) is not None
    assert read(folder / "nanofleet" / "other.engine") is None
    (export,) = (folder / "nanofleet").glob("*.onnx")
    subject = Subject(choice=choice_in(folder), sha256="0" * 64, export=export)
    before = file_of(subject, "auto", "half", folder)
    assert file_of(subject, "auto", "half", folder) == before
    export.write_bytes(export.read_bytes() + b"\0")
    assert file_of(subject, "auto", "half", folder) != before


def test_what_a_killed_process_leaves_of_a_race_the_next_start_removes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "hangs", monkeypatch)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = (
        "import sys; from tests.worker.engines.test_fastest import opened, Path; opened(Path(sys.argv[1]))"
    )
    starting = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)}
    )
    try:
        wait_for(lambda: list(folder.glob("nanofleet/.*.part/first.npy")), what="the first one's answers")
    finally:
        starting.kill()
        starting.wait()
    assert list(temporary.glob("nanofleet-engines-*")) == []
    wait_for(lambda: not processes_of("worker.engines.fastest.process", folder), what="the child's end")
    opened(folder, race=False)
    assert list(folder.glob("nanofleet/.*.part")) == []


def test_without_the_time_for_a_race_there_is_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "is right", monkeypatch)
    _, engine = opened(folder, race=False)
    assert (engine.name, engine.why) == (
        "onnxruntime",
        "not compared yet with openvino float32; cpu: asked for",
    )
    assert kept(folder) == []


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("is killed", r"openvino float32 was killed \(SIGKILL\)"),
        ("finds a full disk", "openvino float32 .*No space left on device"),
        ("is half upgraded", "openvino float32 openvino cannot be imported: ImportError"),
        ("is greedy", "openvino float32 wants too much memory"),
    ],
)
def test_what_may_be_otherwise_the_next_time_is_not_kept(
    behaviour: str,
    says: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    library(tmp_path, behaviour, monkeypatch)
    _, engine = opened(folder)
    assert "the engines are tried again at the next start" in caplog.text
    assert engine.name == "onnxruntime"
    assert re.search(says, engine.why), engine.why
    assert kept(folder) == []


def test_what_a_library_says_of_a_graph_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "refuses", monkeypatch)
    assert "openvino cannot load it: no such operator" in opened(folder)[1].why
    assert len(kept(folder)) == 1


def test_where_no_process_can_start_the_default_serves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library(tmp_path, "is right", monkeypatch)
    stop = threading.Event()
    stop.set()
    with pytest.raises(NanofleetError, match="shut down"):
        opened(folder, stop=stop)
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    _, engine = opened(folder)
    assert (engine.name, engine.why) == (
        "onnxruntime",
        "not compared yet with openvino float32; cpu: asked for",
    )
    assert "a process for the model cannot start" in caplog.text
    assert kept(folder) == []


def test_a_read_only_folder_keeps_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library(tmp_path, "crashes", monkeypatch)
    with read_only(folder):
        _, engine = opened(folder)
    assert "crashed (SIGILL)" in engine.why
    assert "the engines are tried again at each start" in caplog.text
    assert kept(folder) == []


def test_without_openvino_nothing_is_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engines.fastest.candidates.has_openvino", lambda: False)
    monkeypatch.setattr("worker.engines.picking.has_openvino", lambda: False)
    _, engine = opened(folder)
    assert (engine.name, engine.why) == ("onnxruntime", "the fastest on a CPU; cpu: asked for")
    assert kept(folder) == []
    with pytest.raises(SettingsError, match=r"openvino is not installed: .*pip install '\.\[openvino\]'"):
        opened(folder, engine="openvino")


def test_a_worker_says_what_it_serves_with_and_why(
    folder: Path, tmp_path: Path, photos: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "is right", monkeypatch)
    listener = fleet.listen("#")
    model = ["--model", f"squeezenet1_1@{folder / 'mine.pth'}", "--crop", "64", "--resize", "72"]
    model += ["--labels", str(labels_in(folder))]
    fleet.worker(*model, "--weights-dir", str(folder), "--engine", "auto", "--device", "cpu")
    status = wait_for(lambda: statuses(listener.messages), what="a status")[0]
    assert status.engine == "openvino"
    assert re.match(
        r"openvino float\d\d: [\d.]+ ms of CPU a picture; onnxruntime float32 ", status.engine_why
    )
    fleet.send("door", (photos / "coffee.png").read_bytes())
    wait_for(lambda: listener.on(f"{fleet.root}/results/"), what="the answer")
    # And whoever classifies a single picture takes what is known.
    done = nanofleet("classify", str(photos / "coffee.png"), *model, "--weights-dir", str(folder))
    assert "engine         openvino on cpu (openvino float" in done.stdout, done.stdout + done.stderr


def test_a_worker_does_not_load_what_only_those_that_are_tried_need() -> None:
    script = "import sys, worker.service; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "worker.engines.fastest.race" in loaded
    assert not {"PIL.ImageDraw", "PIL.ImageFont", "worker.engines.fastest.process"} & set(loaded)


# --- OpenVINO itself ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """uint8 [240, 224, 224, 3]: parts of scikit-image's photos, of what the model has learned."""
    rng = np.random.default_rng(0)
    photos = [Image.open(FOLDER / name).convert("RGB") for name in PHOTOS]
    parts = []
    for number in range(240):
        photo = photos[number % len(photos)]
        width, height = (int(side * rng.uniform(0.5, 1)) for side in photo.size)
        left, top = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
        part = photo.resize((224, 224), Image.Resampling.BILINEAR, (left, top, left + width, top + height))
        parts.append(np.asarray(part))
    return np.stack(parts)


def answers(engine: Engine, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([engine.infer(images[start : start + 4]) for start in range(0, len(images), 4)])


@needs_openvino
def test_the_fastest_says_what_float32_says_of_real_photos(
    crops: NDArray[np.uint8], weights_dir: Path, tmp_path: Path
) -> None:
    choice = ModelChoice(model="efficientnet_lite0")
    exported(choice, weights_dir)
    shutil.copytree(weights_dir / "nanofleet", tmp_path / "nanofleet")  # others' is to stay without a verdict
    how: Any = {"device": "cpu", "max_batch": 4, "weights_dir": tmp_path}
    expected = answers(open_model(choice, engine="onnxruntime", **how)[1], crops)
    _, engine = open_model(choice, engine="auto", race=True, **how)
    print(engine.why)
    assert "openvino float32" in engine.why
    assert "crashed" not in engine.why
    same = answers(engine, crops).argmax(1) == expected.argmax(1)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 0.05
    assert clear.sum() > 100
    assert same.mean() >= 0.99
    assert same[clear].all()


@needs_openvino
def test_a_hostile_file_does_not_get_into_the_process_that_serves(photos: Path, tmp_path: Path) -> None:
    if metadata.version("openvino").startswith("2024."):
        pytest.skip("OpenVINO 2024 ends a loop that never ends")
    path = endless(tmp_path / "bad.onnx")
    flags = ["--model", str(path), "--engine", "openvino", "--trial-timeout", "2"]
    done = nanofleet("classify", str(photos / "coffee.png"), *flags)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{path} " in done.stderr
    assert "Traceback" not in done.stderr
