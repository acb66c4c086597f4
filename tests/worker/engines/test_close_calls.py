"""Close calls: what half precision cannot tell, float32 answers again, and labels are float32's."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import time
from pathlib import Path
from typing import Any, List, Optional, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.end_to_end.front_ends import ready
from tests.fleets import Fleet
from tests.harness import nanofleet, statuses, wait_for
from tests.metrics import metric
from tests.worker.engines.graphs import SIDE, Net
from tests.worker.engines.libraries import library, needs_openvino
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, EngineName, TwoClasses
from worker.engines.close_calls import ALONE, CloseCalls, are_close, margin_of
from worker.engines.fastest import kept
from worker.engines.fastest.candidates import candidates
from worker.engines.fastest.kept import file_of, read, write
from worker.engines.fastest.pictures import drawn
from worker.engines.fastest.race import FIRST, LAST, _with_close_calls, race
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Trial, Verdict
from worker.engines.installed import releases
from worker.engines.openvino_graph import forms
from worker.engines.select import open_model

Rows = NDArray[np.float32]


def pixels(*numbers: int) -> NDArray[np.uint8]:
    """Pictures of one pixel, by which `Table` knows them."""
    return np.array(numbers, np.uint8).reshape(-1, 1, 1, 1)


def two(*gaps: float) -> Rows:
    """Probabilities of two classes, by the first one's lead."""
    first = 1 / (1 + np.exp(-np.array(gaps)))
    return np.stack([first, 1 - first], axis=1).astype(np.float32)


class Table:
    """An engine that answers a picture by the row of its number."""

    def __init__(self, rows: Rows, name: str) -> None:
        self.rows, self.name, self.device, self.why, self.at_once = rows, name, "cpu", f"of {name}", 2
        self.batches: List[List[int]] = []
        self.warm = 0

    def warm_up(self) -> None:
        self.warm += 1

    def infer(self, batch: NDArray[np.uint8]) -> Rows:
        self.batches.append(batch[:, 0, 0, 0].tolist())
        return self.rows[batch[:, 0, 0, 0]]


# --- the engine ---------------------------------------------------------------------------------------


def pair(quick: Rows, exact: Rows, margin: float = 0.5) -> Any:
    return CloseCalls(Table(quick, "quick"), Table(exact, "exact"), margin)


@pytest.mark.parametrize(
    ("batch", "again"), [([0, 3], None), ([1, 2], [1, 2]), ([3, 1, 0, 2], [1, 2]), ([2], [2]), ([0], None)]
)
def test_what_is_close_is_answered_again(batch: Sequence[int], again: Optional[List[int]]) -> None:
    quick, exact = two(0.6, 0.4, -0.4, -3), two(0.7, -0.1, 0.1, -2)
    engine = pair(quick, exact)
    counted: List[int] = []
    engine.count_by(counted.append)
    found = engine.infer(pixels(*batch))
    expected = [(exact if number in (1, 2) else quick)[number] for number in batch]
    np.testing.assert_array_equal(found, expected)
    assert engine._exact.batches == ([again] if again else [])
    assert counted == ([len(again)] if again else [])
    np.testing.assert_array_equal(quick, two(0.6, 0.4, -0.4, -3))  # a library may keep what it hands out


def test_what_is_no_number_in_half_precision_may_be_one_in_float32() -> None:
    nan, inf = float("nan"), float("inf")
    quick = np.array(
        [[nan, 0.2, 0.1], [0.9, nan, nan], [inf, 0, 0], [0.9, -inf, 0], [0, 0, 0], [1, 0, 0]], np.float32
    )
    exact = np.full((6, 3), 0.25, np.float32)
    exact[1] = nan
    engine = pair(quick, exact)
    found = engine.infer(pixels(*range(6)))
    np.testing.assert_array_equal(found, [*exact[:5], [1, 0, 0]])
    assert not are_close(quick[5:], 80).any()  # what has no second class at all is ahead by any margin


def test_where_most_is_close_the_exact_one_answers_alone() -> None:
    """As in the dark, where nothing is known: two engines would take longer than one."""
    quick, exact = two(0.1, 3), two(-0.1, 2)
    engine = pair(quick, exact)
    counted: List[int] = []
    engine.count_by(counted.append)
    for _ in range(10 * (ALONE + 1)):
        np.testing.assert_array_equal(engine.infer(pixels(0, 0, 0, 1))[:3], exact[[0, 0, 0]])
    assert len(engine._quick.batches) < 40
    assert engine._exact.batches.count([0, 0, 0, 1]) == 10 * (ALONE + 1) - len(engine._quick.batches)
    assert sum(counted) == sum(map(len, engine._exact.batches))
    # Day breaks.
    for _ in range(20 * (ALONE + 1)):
        found = engine.infer(pixels(1, 1))
    np.testing.assert_array_equal(found, quick[[1, 1]])
    before = len(engine._exact.batches)
    engine.infer(pixels(1, 0))
    assert engine._exact.batches[before:] == [[0]]


def test_it_is_the_quick_one_to_anybody_and_both_are_warmed_up() -> None:
    engine = pair(two(1), two(1))
    engine.warm_up()
    assert (engine._quick.warm, engine._exact.warm) == (1, 1)
    assert (engine.name, engine.device, engine.why, engine.at_once) == ("quick", "cpu", "of quick", 2)


# --- the margin ---------------------------------------------------------------------------------------


def test_the_margin_is_twice_what_gaps_move_by() -> None:
    gaps = np.linspace(-5, 5, 100)
    moves = np.tile([0.3, -0.3], 50)
    assert margin_of(two(*gaps + moves), two(*gaps)) == pytest.approx(0.6, rel=1e-3)
    # Of the two classes that are the best in half precision, whichever are in float32.
    quick, exact = np.array([[0.5, 0.4, 0.1]], np.float32), np.array([[0.2, 0.2, 0.6]], np.float32)
    assert margin_of(quick, exact) == pytest.approx(2 * np.log(0.5 / 0.4))


def test_a_picture_without_a_gap_says_nothing_of_it() -> None:
    gaps = np.array([1.0, 2.0, 3.0, 4.0])
    quick, exact = two(*gaps + 0.1), two(*gaps)
    quick[1], exact[2], quick[3] = [1, 0], [1, 0], [np.nan, np.nan]
    assert margin_of(quick, exact) == pytest.approx(0.2, rel=1e-3)
    assert margin_of(quick[1:], exact[1:]) is None
    exact[1] = np.inf, -np.inf
    assert margin_of(quick, exact) == pytest.approx(0.2, rel=1e-3)


def test_classes_that_stand_by_themselves_have_no_gaps() -> None:
    """Of several labels, or of a single output, the best two classes say nothing of what is seen."""
    several = np.array([[0.9, 0.8, 0.1], [0.2, 0.7, 0.1]], np.float32)
    assert margin_of(several, several) is None
    single = np.array([[0.4], [0.6]], np.float32)
    assert margin_of(single, single) is None
    assert margin_of(several[:, :2], several) is None
    # Of the probability of one class, of which a file has made two, they do.
    outputs = (two(1.1, -1.9)[:, :1], two(1, -2)[:, :1])
    both: Any = [TwoClasses(Table(each, "")).infer(pixels(0, 1)) for each in outputs]
    assert margin_of(*both) == pytest.approx(0.2, rel=1e-3)


# --- the race, and what is kept of it -----------------------------------------------------------------


def mixed(path: Path, *, several: bool = False) -> ModelChoice:
    """A model of three classes that are often close, or of which several may be seen; it takes a moment."""
    net = Net()
    wide = net.add("Resize", "x", "", net.const([1.0, 1.0, 2.0, 2.0]), mode="nearest")
    for weights in ((32, 3), (64, 32), (3, 64)):
        wide = net.add("Conv", wide, net.const(np.full((*weights, 3, 3), 1e-4)), pads=[1, 1, 1, 1])
    means = net.add("Sub", net.add("Add", net.means(), net.means(wide)), net.const([0.4]))
    logits = net.add("Mul", means, net.const([10.0]))
    last = net.add("Sigmoid", logits) if several else net.add("Softmax", logits, axis=1)
    net.give(last, ("N", 3)).save(path)
    return labelled(path, "red", "green", "blue")


def labelled(path: Path, *names: str) -> ModelChoice:
    """A file, pinned, with class names."""
    labels = path.with_name(f"{'-'.join(names)}.txt")
    labels.write_text("\n".join(names), encoding="utf-8")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelChoice(model=str(path), labels=labels, sha256=digest, fit="squeeze", scaling="unit")


def subject_of(choice: ModelChoice) -> Subject:
    return Subject(choice=choice, sha256=str(choice.sha256))


def opened(choice: ModelChoice, **how: Any) -> Engine:
    folder = Path(choice.model).parent
    given = {"engine": "auto", "device": "cpu", "max_batch": 4, "weights_dir": folder, "race": True, **how}
    return open_model(choice, **given)[1]


def answers(engine: Engine, pictures: NDArray[np.uint8]) -> Rows:
    return np.concatenate([engine.infer(pictures[start : start + 4]) for start in range(0, len(pictures), 4)])


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(buffer, "PNG")
    return buffer.getvalue()


def to_be_raced(
    folder: Path, openvino: str, monkeypatch: pytest.MonkeyPatch, several: bool = False
) -> ModelChoice:
    """A model that is raced, small as it is, by ONNX Runtime and by an OpenVINO that behaves so."""
    library(folder, openvino, monkeypatch)
    monkeypatch.setattr("worker.engines.fastest.race.QUICK", 0)
    return mixed(folder / "net.onnx", several=several)


PICTURES = drawn((SIDE, SIDE, 3), 400)[200:]  # no race has seen those


def test_half_precision_serves_where_float32_answers_its_close_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    choice = to_be_raced(tmp_path, "rounds", monkeypatch)
    engine = opened(choice)
    assert isinstance(engine, CloseCalls), engine.why
    verdict = read(file_of(subject_of(choice), "auto", "half", tmp_path))
    assert verdict is not None
    winner = verdict.winner
    assert (winner.engine, winner.precision, winner.agrees) == ("openvino", "float16", True)
    assert 0.1 < winner.margin < 0.5
    assert 0 < winner.close < 0.5
    assert (
        f"openvino float16 ({winner.close:.0%} close calls again by {winner.again} float32): " in engine.why
    )
    expected = answers(opened(choice, precision="exact", engine="onnxruntime"), PICTURES)
    quick, found = answers(engine._quick, PICTURES).argmax(1), answers(engine, PICTURES).argmax(1)
    assert (quick != expected.argmax(1)).mean() > 0.01
    np.testing.assert_array_equal(found, expected.argmax(1))
    # Another start knows it, and so does whoever has no time for a race.
    again = opened(choice, race=False)
    assert isinstance(again, CloseCalls)
    assert (again.why, again._margin) == (engine.why, winner.margin)
    assert caplog.text.count("finding out what runs it fastest") == 1
    assert not isinstance(opened(choice, precision="exact"), CloseCalls)


def test_a_library_that_alone_may_serve_answers_its_own_close_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = to_be_raced(tmp_path, "rounds", monkeypatch)
    verdict = race(subject_of(choice), candidates("openvino", "half"), 4, tmp_path, tmp_path / ".race.part")
    assert verdict.winner.again == "openvino", verdict.why


def test_a_pair_that_was_killed_is_tried_again_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    choice = to_be_raced(tmp_path, "rounds, and is killed beside another", monkeypatch)
    for _ in range(2):
        engine = opened(choice)
        assert not isinstance(engine, CloseCalls)
        assert "only, and together with another engine was killed (SIGKILL)" in engine.why
    assert caplog.text.count("finding out what runs it fastest") == 1
    file = file_of(subject_of(choice), "auto", "half", tmp_path)
    now = time.time()
    os.utime(file, (now + 60, now + 60))  # by the clock of the machine that has the disk
    opened(choice)
    assert caplog.text.count("finding out what runs it fastest") == 1
    yesterday = now - 86_400
    os.utime(file, (yesterday, yesterday))
    opened(choice)
    assert caplog.text.count("finding out what runs it fastest") == 2
    assert file.stat().st_mtime > yesterday + 1


@pytest.mark.parametrize(
    ("threshold", "says"),
    [(None, "but agrees with float32 on"), (0.9999, "gives all drawn pictures the same")],
)
def test_of_several_labels_those_that_are_seen_have_to_be_the_same(
    threshold: Optional[float], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one is, in all pictures; it is the threshold that half precision crosses."""
    choice = to_be_raced(tmp_path, "rounds upwards", monkeypatch, several=True).model_copy(
        update={"threshold": threshold}
    )
    verdict = race(subject_of(choice), candidates("auto", "half"), 4, tmp_path, tmp_path / ".race.part")
    (half,) = [trial for trial in verdict.trials if trial.precision == "float16"]
    assert not half.agrees
    assert says in half.says


@pytest.mark.parametrize(("wrong", "ms"), [(4, 1), (0, 9)])
def test_where_close_calls_cannot_help_no_second_engine_is_tried(
    wrong: int, ms: float, tmp_path: Path
) -> None:
    """What is wrong is not close; or half precision takes as long as float32."""
    gaps = np.linspace(-3, 3, 200)
    moves = np.tile([0.1, -0.1], 100)
    some = slice(66, 66 + wrong)  # ahead by 1, and then behind by as much
    moves[some] = -2 * gaps[some]
    np.save(tmp_path / FIRST, two(*gaps))
    np.save(tmp_path / LAST, two(*gaps + moves))
    half = Trial(engine="openvino", precision="float16", ms=ms, pictures=200, same=196)
    assert _with_close_calls(half, DEFAULT, tmp_path, lambda *how: pytest.fail("it was tried")) == half


def kept_for(choice: ModelChoice, engine: EngineName, *trials: Trial) -> None:
    """Keep a verdict as a race would."""
    write(
        file_of(subject_of(choice), engine, "half", Path(choice.model).parent),
        Verdict(releases=releases(), trials=trials),
    )


DEFAULT = Trial(engine="onnxruntime", precision="float32", ms=9, agrees=True)


@needs_openvino
@pytest.mark.parametrize("margin", [1e-6, 100])
def test_two_libraries_serve_one_model(margin: float, tmp_path: Path) -> None:
    choice = mixed(tmp_path / "net.onnx")
    quick = Trial(engine="openvino", precision="float32", ms=1, agrees=True)
    kept_for(choice, "auto", DEFAULT, quick.model_copy(update={"again": "onnxruntime", "margin": margin}))
    engine = opened(choice, race=False)
    engine.warm_up()
    asked = {"precision": "exact", "race": False}
    expected = answers(opened(choice, engine="openvino" if margin < 1 else "onnxruntime", **asked), PICTURES)
    np.testing.assert_array_equal(answers(engine, PICTURES), expected)


@needs_openvino
def test_close_calls_are_few_so_that_what_answers_them_has_few_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: List[int] = []

    def recorded(model: Any, most: int) -> Any:
        asked_for.append(most)
        return forms(model, most)

    monkeypatch.setattr("worker.engines.openvino_engine.forms", recorded)
    choice = mixed(tmp_path / "net.onnx")
    quick = Trial(engine="openvino", precision="float32", ms=1, agrees=True)
    kept_for(choice, "auto", DEFAULT, quick.model_copy(update={"again": "openvino", "margin": 100}))
    engine = opened(choice, race=False)
    engine.warm_up()
    assert asked_for == [2, 4]
    expected = answers(opened(choice, engine="openvino", precision="exact", race=False), PICTURES)
    np.testing.assert_allclose(answers(engine, PICTURES), expected, atol=1e-5)


def test_where_one_of_the_two_cannot_be_opened_the_default_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "refuses", monkeypatch)
    choice = mixed(tmp_path / "net.onnx")
    half = Trial(engine="openvino", precision="float16", ms=1, agrees=True, again="onnxruntime", margin=0.1)
    kept_for(choice, "auto", DEFAULT, half)
    engine = opened(choice, race=False)
    assert (engine.name, isinstance(engine, CloseCalls)) == ("onnxruntime", False)
    assert engine.why.startswith("openvino was faster, and cannot be opened; ")


def test_a_verdict_on_one_output_is_none_on_another(tmp_path: Path) -> None:
    """As many names as another output has numbers have that one served, whose best two may be none."""
    net = Net()
    means = net.means()
    net.give(net.add("Softmax", means, axis=1), ("N", 3))
    net.give(net.add("Sigmoid", net.add("MatMul", means, net.const([[1.0], [2.0], [-3.0]]))), ("N", 1))
    path = net.save(tmp_path / "net.onnx")
    of_three, of_two = (labelled(path, *names) for names in (("a", "b", "c"), ("no", "yes")))
    half = Trial(engine="openvino", precision="float32", ms=1, agrees=True, again="onnxruntime", margin=0.1)
    kept_for(of_three, "auto", DEFAULT, half)
    assert read(file_of(subject_of(of_three), "auto", "half", tmp_path)) is not None
    renamed = labelled(path, "d", "e", "f")
    assert file_of(subject_of(renamed), "auto", "half", tmp_path).exists()
    engine = opened(of_two, race=False)
    assert engine.infer(PICTURES[:4]).shape == (4, 2)
    assert not engine.why.startswith("openvino")


def test_a_verdict_of_before_there_were_close_calls_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "rounds", monkeypatch)
    choice = mixed(tmp_path / "net.onnx")
    with monkeypatch.context() as before:
        before.setattr(kept, "FORMAT", 2)
        kept_for(choice, "auto", DEFAULT)
        assert opened(choice, race=False).why.startswith("onnxruntime float32: 9 ms")
    assert opened(choice, race=False).why.startswith("not compared yet with openvino float32")


# --- served -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_counts_them(
    processes: int, tmp_path: Path, photos: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "is right", monkeypatch)
    choice = mixed(tmp_path / "net.onnx")
    half = Trial(engine="openvino", precision="float16", ms=1, agrees=True, again="onnxruntime", margin=0.1)
    kept_for(choice, "auto", DEFAULT, half)
    model = ["--model", choice.model, "--labels", str(choice.labels), "--fit", "squeeze", "--scaling", "unit"]
    listener = fleet.listen("#")
    how = ("--engine", "auto", "--device", "cpu", "--processes", str(processes))
    worker = fleet.worker(*model, "--weights-dir", str(tmp_path), *how, wait=False)
    ready(worker, times=processes)
    status = wait_for(lambda: statuses(listener.messages), what="a status")[0]
    assert status.engine_why.startswith(
        "openvino float16 (0% close calls again by onnxruntime float32): 1 ms"
    )
    for colour in ("red", "gray", "blue"):  # one of which has three classes that are as good
        fleet.send("door", picture(colour))
    wait_for(lambda: len(listener.on(f"{fleet.root}/results/")) == 3, what="the answers")
    ports = range(worker.metrics_port, worker.metrics_port + processes)
    assert sum(metric(worker, "nanofleet_close_calls_total", port=port) for port in ports) == 1
    done = nanofleet("classify", str(photos / "coffee.png"), *model, "--weights-dir", str(tmp_path))
    assert "close calls again by onnxruntime float32" in done.stdout, done.stdout + done.stderr
