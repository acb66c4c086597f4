"""ONNX files are tried in a process with limits first: what a hostile one costs, and whom."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, List

import pytest

from tests.fleets import Fleet
from tests.harness import failures, nanofleet, processes_of, wait_for
from tests.worker.engines.graphs import Net
from tests.worker.engines.hostile import GREEDY, endless, expanded
from tests.worker.engines.test_onnx_served import answer_to, png
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.select import open_model
from worker.engines.trial import tried

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limits")

ENDLESS = "ran for more than 2 s when it was tried"
GREEDY_SAYS = "MiB of memory when it was tried"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("red\ngreen\nblue\n", encoding="utf-8")
    return path


def honest(path: Path, *more: float) -> Path:
    net = Net()
    return net.give(net.add("Mul", net.means(), net.const([6.0, *more][-1]))).save(path)


def trial_of(path: Path, labels: Path, **given: Any) -> Any:
    choice = ModelChoice(model=str(path), labels=labels)
    how = {"engine": "auto", "device": "cpu", "max_batch": 2, "weights_dir": path.parent}
    return tried(choice, **{"trusted": False, "seconds": 20.0, **how, **given})


def open_it(choice: ModelChoice) -> Any:
    return open_model(choice, engine="auto", device="cpu", max_batch=2, weights_dir=Path("/nowhere"))


def trials(folder: Path) -> List[int]:
    """The processes that try a file of a folder."""
    return processes_of("worker.engines.trial_process", folder)


@pytest.mark.parametrize(("write", "says"), [(endless, ENDLESS), (expanded, GREEDY_SAYS)])
def test_a_worker_does_not_start_with_a_hostile_file(
    write: Callable[[Path], Path],
    says: str,
    fleet: Fleet,
    labels: Path,
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "bad.onnx")
    assert path.stat().st_size < 500
    flags = ("--model", str(path), "--labels", str(labels), "--trial-timeout", "2")
    worker = fleet.worker(*flags, wait=False)
    assert worker.process.wait(120) == 2
    assert f"{path} " in worker.log.read_text()
    assert says in worker.log.read_text()


def test_a_worker_that_is_told_to_use_one_serves_meanwhile_and_afterwards(
    mosquitto_url: str,
    root: str,
    fleet: Fleet,
    labels: Path,
    tmp_path: Path,
) -> None:
    """Also where the command pins it: whoever may command may name any hash."""
    flags = ("--model", str(honest(tmp_path / "good.onnx")), "--labels", str(labels), "--fit", "squeeze")
    fleet.worker(*flags, "--weights-dir", str(tmp_path), "--trial-timeout", "2")
    answers, changes = fleet.listen("results/+"), fleet.listen("workers/+")
    pin = hashlib.sha256(endless(tmp_path / "endless.onnx").read_bytes()).hexdigest()
    expanded(tmp_path / "greedy.onnx")
    for command, says in (("endless.onnx", "--sha256", pin), ENDLESS), (("greedy.onnx",), GREEDY_SAYS):
        where = ("--labels", labels.name, "--broker", mosquitto_url, "--root", root)
        line = [sys.executable, "-m", "fleet", "models", "use", *command, *where]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as use:
            wait_for(lambda: trials(tmp_path) or use.poll() is not None, 60, "the trial")
            while trials(tmp_path):
                answer_to(answers, root, png((230, 26, 26)))
            said = use.communicate(timeout=60)[0]
        assert use.returncode == 1, said
        name = command[0]
        failed = wait_for(lambda n=name: failures(changes.messages, n), what="the listener hears it too")  # type: ignore[misc]
        assert says in failed[-1].detail
    assert b'"red"' in answer_to(answers, root, png((230, 26, 26)))
    assert len(answers.messages) > 2


@pytest.mark.parametrize(
    ("write", "says"), [(endless, ENDLESS), *((each, GREEDY_SAYS) for each in GREEDY.values())]
)
def test_classify_ends_with_what_is_wrong(
    write: Callable[[Path], Path], says: str, labels: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "bad.onnx")
    (tmp_path / "red.png").write_bytes(png((230, 26, 26)))
    flags = ("--model", path.name, "--labels", labels.name, "--trial-timeout", "2")
    done = nanofleet("classify", "red.png", *flags, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{path.name} " in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_its_owner_pins_is_not_tried(labels: Path, tmp_path: Path) -> None:
    with trial_of(endless(tmp_path / "bad.onnx"), labels, trusted=True) as choice:
        assert choice.sha256 is None


def test_what_was_tried_is_what_is_opened(labels: Path, tmp_path: Path) -> None:
    path = honest(tmp_path / "net.onnx")
    with trial_of(path, labels) as choice:
        assert open_it(choice)[0].sha256 == choice.sha256
        assert choice.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def replace_meanwhile() -> None:
        with trial_of(path, labels) as choice:
            honest(path, 7.0)
            open_it(choice)

    with pytest.raises(NanofleetError, match="was replaced while it was loaded"):
        replace_meanwhile()


def test_what_is_no_model_is_told_as_ever(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no graph")
    with pytest.raises(SettingsError, match="no ONNX model, or a damaged one"), trial_of(
        tmp_path / "net.onnx", labels
    ):
        pass


def test_told_to_stop_it_leaves_nothing(labels: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def stop_soon() -> None:
        wait_for(lambda: trials(tmp_path), what="a trial")
        stop.set()

    stopping = threading.Thread(target=stop_soon)
    stopping.start()
    with pytest.raises(NanofleetError, match="shut down"), trial_of(
        endless(tmp_path / "bad.onnx"), labels, stop=stop
    ):
        pass
    stopping.join()
    assert trials(tmp_path) == []
