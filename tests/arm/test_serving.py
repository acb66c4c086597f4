"""A worker without PyTorch on an emulated board, which answers as one on this machine does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.arm.boards import Board
from tests.fleets import Fleet
from tests.harness import MODEL, WorkerProcess, nanofleet, wait_for
from tests.metrics import metric
from tests.worker.photos import FOLDER, PHOTOS
from wire.messages import Result

#: Emulation is some thirty times slower than this machine, and half of a test is the trial of the file.
TIMEOUT_SECONDS = 1800.0


class EmulatedWorker(WorkerProcess):
    """A worker on a board; its folder is there under the same path."""

    def __init__(self, inside: List[str], folder: Path, url: str, root: str, *flags: str) -> None:
        self._inside = inside
        super().__init__(folder, url, root, f"{root}-arm", *flags)

    def start(self) -> None:
        self.command = [*self._inside, "/usr/bin/python3", *self.command[1:]]
        super().start()


@pytest.fixture(scope="module")
def model_file(system: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as this machine exports it for those without PyTorch."""
    path = tmp_path_factory.mktemp("model") / f"{MODEL}.onnx"
    ran = nanofleet("models", "export", MODEL, str(path), timeout=TIMEOUT_SECONDS)
    assert ran.returncode == 0, ran.stderr
    return path


@pytest.fixture(scope="module")
def expected(model_file: Path) -> Dict[str, Dict[str, Any]]:
    """This machine's answer to each photo."""
    paths = [str(FOLDER / name) for name in PHOTOS]
    ran = nanofleet("classify", "--json", "--model", str(model_file), *paths, timeout=TIMEOUT_SECONDS)
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    return {Path(answer["image"]).name: answer for answer in answers}


@pytest.fixture
def worker(
    system: Path, board: Board, model_file: Path, tmp_path: Path, mosquitto_url: str, root: str
) -> Iterator[EmulatedWorker]:
    """A worker that serves the file on a board."""
    (tmp_path / model_file.name).write_bytes(model_file.read_bytes())
    flags = ["--model", str(tmp_path / model_file.name), "--trial-timeout", str(TIMEOUT_SECONDS)]
    flags += ["--decoders", "1", "--decoder-timeout", str(TIMEOUT_SECONDS)]
    started = EmulatedWorker(board.inside(system, tmp_path), tmp_path, mosquitto_url, root, *flags)
    try:
        started.wait_said("connected to", TIMEOUT_SECONDS)
        yield started
    finally:
        try:
            started.stop()
        except subprocess.TimeoutExpired:
            started.process.kill()
            started.process.wait()
            raise


def test_it_answers_as_this_machine_does_and_drains(
    worker: EmulatedWorker,
    expected: Dict[str, Dict[str, Any]],
    root: str,
    fleet: Fleet,
) -> None:
    listener = fleet.listen("results/+", "rejects/+")
    for name in PHOTOS:
        listener.publish(f"{root}/frames/{Path(name).stem}", (FOLDER / name).read_bytes())
    wait_for(lambda: len(listener.messages) >= len(PHOTOS), TIMEOUT_SECONDS, "an answer to each photo")
    for name, label in PHOTOS.items():
        (message,) = listener.on(f"{root}/results/{Path(name).stem}")
        result, here = Result.decode(message.payload), expected[name]
        assert result.label == here["label"] == label
        theirs = {candidate.label: candidate.confidence for candidate in result.top}
        ours = {candidate["label"]: candidate["confidence"] for candidate in here["top"]}
        assert theirs == pytest.approx(ours, abs=1e-3)
        difference = max(abs(theirs[each] - ours[each]) for each in ours)
        print(f"{name}: {label} {result.confidence:.4f}, at most {difference:.1e} from this machine's")
    # An answer counts once the broker has confirmed it, which may be after it is here.
    answered = {"outcome": "answered", "reason": ""}
    wait_for(
        lambda: metric(worker, "nanofleet_frames_total", **answered) == len(PHOTOS),
        what="all of them counted",
    )
    assert worker.stop(timeout=TIMEOUT_SECONDS) == 0
    assert worker.said("left with nothing in hand")
    assert not worker.said("Traceback")
