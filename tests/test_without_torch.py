"""`pip install 'nanofleet[onnx]'`: a worker in an environment without PyTorch, as on a small box."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from tests.fleets import Fleet
from tests.harness import MODEL, nanofleet, statuses, wait_for
from wire.messages import Result

REPOSITORY = Path(__file__).parent.parent
#: What is not there, and what it would need.
ABSENT = {"torch", "torchvision", "safetensors", "onnxscript"}
#: All of it, pip and setuptools too; most of it is onnxruntime, onnx and NumPy.
MEGABYTES = 400


class Box:
    """The environment, and the commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = str(folder / "bin" / "python")
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Start its nanofleet."""
        command = [str(self.folder / "bin" / "nanofleet"), *arguments]
        return subprocess.Popen(command, env=self.environment, cwd=str(self.folder), **options)

    def nanofleet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its nanofleet to the end, which must be one without a traceback."""
        pipes: Dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with self.start(*arguments, **pipes) as process:
            out, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors, errors
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """The wheel with its extra, from the index."""
    folder = tmp_path_factory.mktemp("box")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    venv.create(folder, with_pip=True)
    box = Box(folder)
    (wheel,) = folder.glob("*.whl")
    install = [box.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{wheel}[onnx]"]
    done = subprocess.run(install, env=box.environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return box


@pytest.fixture(scope="module")
def exports(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files, as a PC exports them: one model, by its own names and by others."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "numbers.txt").write_text("\n".join(f"number {n}" for n in range(1000)), encoding="utf-8")
    for file, labels in (("lite0.onnx", []), ("numbers.onnx", ["--labels", str(folder / "numbers.txt")])):
        given = [MODEL, str(folder / file), "--weights-dir", str(weights_dir), *labels]
        done = nanofleet("models", "export", *given)
        assert done.returncode == 0, done.stderr
    return folder


def classified(command: Callable[..., subprocess.CompletedProcess[str]], *arguments: str) -> Dict[str, Any]:
    done = command("classify", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: Dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_is_small(box: Box) -> None:
    list_all = [box.python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    installed = subprocess.run(
        list_all, env=box.environment, check=True, capture_output=True, text=True
    ).stdout
    assert not ABSENT & {line.split("==")[0].lower() for line in installed.splitlines()}
    sizes = [path.lstat().st_size for path in box.folder.rglob("*") if path.is_file()]
    assert sum(sizes) / 1e6 < MEGABYTES


def test_a_worker_serves_exports_changes_them_and_drains(
    box: Box, exports: Path, weights_dir: Path, photos: Path, tmp_path: Path, mosquitto_url: str,
    root: str, fleet: Fleet,
) -> None:  # fmt: skip
    photo = photos / "coffee.png"
    expected = classified(nanofleet, str(photo), "--model", MODEL, "--weights-dir", str(weights_dir))
    listener = fleet.listen("#")
    broker = ["--broker", mosquitto_url, "--root", root]
    flags = ["--model", str(exports / "lite0.onnx"), "--weights-dir", str(exports), "--metrics-port", "0"]
    log = tmp_path / "log"

    def answer(frame: int) -> Result:
        listener.publish(f"{root}/frames/door", photo.read_bytes())
        wait_for(lambda: len(listener.on(f"{root}/results/")) > frame, what="the answer")
        return Result.decode(listener.on(f"{root}/results/")[frame].payload)

    with log.open("wb") as output:
        worker = box.start(
            "worker", *broker, *flags, "--state-dir", str(tmp_path), stdout=output, stderr=output
        )
    try:
        wait_for(lambda: "connected to" in log.read_text() or worker.poll() is not None, 90, "a worker")
        result = answer(0)
        assert (result.label, result.index) == ("espresso", expected["index"])
        assert result.confidence == pytest.approx(expected["confidence"], abs=1e-4)
        assert (result.model, result.weights) == (expected["model"], expected["weights"])
        status = statuses(listener.messages)[-1]
        assert (status.engine, status.device, status.assumed) == ("onnxruntime", "cpu", ())
        used = box.nanofleet("models", "use", "numbers.onnx", *broker)
        assert used.returncode == 0, used.stdout + used.stderr
        assert answer(1).label == f"number {expected['index']}"
    finally:
        worker.terminate()
        code = worker.wait(60)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    assert statuses(listener.messages)[-1].state == "offline"


def test_an_export_of_another_machine_is_served_by_its_name(
    box: Box, exports: Path, weights_dir: Path, photos: Path, tmp_path: Path
) -> None:
    given = [str(photos / "coffee.png"), "--model", MODEL, "--weights-dir"]
    assert classified(box.nanofleet, *given, str(weights_dir))["label"] == "espresso"
    shutil.copytree(weights_dir / "nanofleet", tmp_path / "nanofleet")
    copies = list((tmp_path / "nanofleet").glob("*.onnx"))
    for copy in copies:
        copy.write_bytes(copy.read_bytes()[:1000])
    done = box.nanofleet("classify", *given, str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "onnxruntime cannot load it" in done.stderr
    assert all(copy.with_suffix(".json").exists() for copy in copies)  # nothing here could make it anew


def test_what_needs_pytorch_says_so(box: Box, photos: Path, tmp_path: Path, exports: Path) -> None:
    photo, weights = str(photos / "coffee.png"), ["--weights-dir", str(tmp_path)]
    (tmp_path / "mine.pth").write_bytes(b"weights")
    (box.folder / "mobilenet_v2").mkdir()  # a folder of that name is not what is meant
    worker = "pip install '.[worker]'"
    teaches = "models export mobilenet_v2 FILE.onnx"
    wanted: List[Any] = [
        (["models", "list"], worker),
        (["models", "show", "resnet18"], worker),
        (["models", "download", "resnet18"], worker),
        (["models", "export", "resnet18", str(tmp_path / "net.onnx"), *weights], worker),
        (["demo"], "pip install '.[demo]'"),
        (["worker", *weights], teaches),
        (["classify", photo, "--model", "mobilenetv2", *weights], "did you mean mobilenet_v2?"),
        (["classify", photo, "--model", "my model/net.pth", *weights], "is a checkpoint: --model NAME@"),
        (["classify", photo, *weights], teaches),
        (["classify", photo, "--engine", "torch", *weights], "PyTorch, which is to run it, is not installed"),
        (["classify", photo, "--engine", "torch", "--crop", "160", *weights], f"{teaches} --crop 160`"),
        (["classify", photo, "--model", f"resnet18@{tmp_path / 'mine.pth'}", *weights], "models export"),
        (["classify", photo, "--device", "cuda", *weights], "device cuda: PyTorch is not installed"),
        (
            ["classify", photo, "--device", "cuda", "--model", str(exports / "lite0.onnx")],
            "built without CUDA",
        ),
    ]
    for arguments, says in wanted:
        done = box.nanofleet(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), (arguments, done.stderr)
        assert says in done.stderr, (arguments, done.stderr)
