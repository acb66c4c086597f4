"""A PyTorch that cannot be imported, as on a Jetson whose container was given no CUDA libraries.

Or its torchvision, as on a Jetson with NVIDIA's build of the one and the index's of the other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict

import pytest

from tests.fleets import Fleet
from tests.harness import MODEL, statuses, wait_for
from tests.worker.engines.graphs import SIDE, Net
from wire.model_choice import ModelChoice
from worker.engines.exports.cache import exported

ROOT = Path(__file__).resolve().parents[3]
MISSING = "libcudart.so.10.2: cannot open shared object file: No such file or directory"
MADE_FOR_ANOTHER = "operator torchvision::nms does not exist"
#: The nanofleet command on a machine with the device files of a CUDA device, and without OpenVINO.
COMMAND = """
import sys
from fleet.cli import main
from worker.engines import picking
from worker.engines.fastest import candidates

picking._CUDA_NODES = ("/dev/null",)
candidates.has_openvino = lambda: False
sys.exit(main(sys.argv[1:]))
"""

#: The same, where PyTorch and ONNX Runtime are both built for CUDA, as far as their builds say.
COMMAND_FOR_CUDA = f"""
from worker.engines import installed

installed.cuda_libraries = lambda: ["torch", "onnxruntime"]
{COMMAND}
"""


@pytest.fixture
def environment(tmp_path: Path) -> Dict[str, str]:
    """With a torch that ends as the real one does where a library is not there, and leaves a mark before."""
    package = tmp_path / "broken" / "torch"
    package.mkdir(parents=True)
    mark = tmp_path / "imported"
    lines = ["from pathlib import Path", f"Path({str(mark)!r}).touch()", f"raise OSError({MISSING!r})"]
    (package / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{ROOT}"}


def with_another_torchvision(tmp_path: Path) -> Dict[str, str]:
    """With the real torch, and a torchvision that ends as one that was made for another."""
    package = tmp_path / "other" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise RuntimeError({MADE_FOR_ANOTHER!r})", encoding="utf-8")
    return {**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{ROOT}"}


@pytest.fixture
def run(environment: Dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    return lambda *arguments: run_in(environment, tmp_path, *arguments)


def run_in(
    environment: Dict[str, str], folder: Path, *arguments: str, script: str = COMMAND
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=str(folder), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def weights_dir(weights_dir: Path) -> Path:
    """With an export, which another test may have made."""
    exported(ModelChoice(model=MODEL), weights_dir)
    return weights_dir


def test_a_worker_serves_an_export_on_the_cpu_and_says_why(
    environment: Dict[str, str], weights_dir: Path, photos: Path, tmp_path: Path, mosquitto_url: str,
    root: str, fleet: Fleet,
) -> None:  # fmt: skip
    listener = fleet.listen("#")
    flags = ["--model", MODEL, "--weights-dir", str(weights_dir), "--state-dir", str(tmp_path)]
    flags += ["--broker", mosquitto_url, "--root", root, "--worker-id", f"{root}-w1", "--metrics-port", "0"]
    command = [sys.executable, "-c", COMMAND, "worker", *flags]
    with subprocess.Popen(command, env=environment, cwd=str(tmp_path)) as worker:
        try:
            wait_for(lambda: worker.poll() is not None or statuses(listener.messages), 90, "a status")
            (status, *_) = statuses(listener.messages)
            assert (status.engine, status.device) == ("onnxruntime", "cpu")
            why = f"the fastest on a CPU; cpu: PyTorch cannot be imported: OSError: {MISSING}"
            assert status.engine_why == why
            listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes())
            wait_for(lambda: listener.on(f"{root}/results/"), what="the answer")
        finally:
            worker.terminate()
    assert worker.returncode == 0


def test_where_onnxruntime_is_built_for_cuda_as_well_it_serves(
    environment: Dict[str, str], weights_dir: Path, photos: Path, tmp_path: Path
) -> None:
    """It is not imported before it is to run the model."""
    classify = ["classify", str(photos / "coffee.png"), "--model", MODEL, "--weights-dir", str(weights_dir)]
    done = run_in(environment, tmp_path, *classify, script=COMMAND_FOR_CUDA)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime on cpu (" in done.stdout
    assert f"{MODEL}: PyTorch, which is to run it, cannot be imported: OSError: {MISSING}" in done.stdout


def test_what_needs_it_says_so(
    run: Callable[..., subprocess.CompletedProcess[str]], weights_dir: Path, photos: Path, tmp_path: Path
) -> None:
    classify = ["classify", str(photos / "coffee.png"), "--model", MODEL, "--weights-dir"]
    for arguments, says in (
        (
            [*classify, str(weights_dir), "--device", "cuda"],
            "device cuda: PyTorch cannot be imported: OSError",
        ),
        (
            [*classify, str(weights_dir), "--engine", "torch"],
            f"{MODEL}: PyTorch, which is to run it, cannot be imported",
        ),
        (
            [*classify, str(tmp_path)],
            "models export efficientnet_lite0 FILE.onnx` writes a file that needs none",
        ),
        (
            ["models", "export", MODEL, "net.onnx", "--weights-dir", str(tmp_path)],
            f"{MODEL}: PyTorch, which exports it, cannot be imported",
        ),
        (["models", "list"], "a package that it needs cannot be imported"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert says in done.stderr
        assert MISSING in done.stderr
        assert arguments[1] != "export" or "Run this command where PyTorch is" in done.stderr


def test_a_damaged_export_is_kept_until_there_is_another(
    run: Callable[..., subprocess.CompletedProcess[str]], weights_dir: Path, photos: Path, tmp_path: Path
) -> None:
    """Another onnxruntime, or a copy, may read it yet."""
    shutil.copytree(weights_dir / "nanofleet", tmp_path / "nanofleet")
    for graph in (tmp_path / "nanofleet").glob("*.onnx"):
        graph.write_bytes(graph.read_bytes()[:1000])
    before = sorted(path.name for path in (tmp_path / "nanofleet").glob("*.json"))
    done = run("classify", str(photos / "coffee.png"), "--model", MODEL, "--weights-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "exporting it again" in done.stderr
    assert MISSING in done.stderr
    assert sorted(path.name for path in (tmp_path / "nanofleet").glob("*.json")) == before != []


def test_a_torchvision_for_another_torch_says_so(weights_dir: Path, photos: Path, tmp_path: Path) -> None:
    environment = with_another_torchvision(tmp_path)
    reason = f"cannot be imported: RuntimeError: {MADE_FOR_ANOTHER}"
    classify = ["classify", str(photos / "coffee.png"), "--model", MODEL, "--weights-dir"]
    done = run_in(environment, tmp_path, *classify, str(weights_dir))
    assert done.returncode == 0, done.stderr
    # PyTorch, which may well have found a CUDA device, was not picked.
    assert f"onnxruntime on cpu (the fastest on a CPU; cpu: PyTorch {reason})" in done.stdout
    for arguments, says in (
        ([*classify, str(weights_dir), "--engine", "torch"], MODEL),
        ([*classify, str(tmp_path)], MODEL),
        (["models", "export", MODEL, "net.onnx", "--weights-dir", str(tmp_path)], MODEL),
        (["models", "list"], "a package that it needs"),
    ):
        done = run_in(environment, tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert says in done.stderr
        assert reason in done.stderr


def test_an_onnx_file_does_without(
    run: Callable[..., subprocess.CompletedProcess[str]], photos: Path, tmp_path: Path
) -> None:
    net = Net()
    net.give(net.add("Softmax", net.means(), axis=1)).save(tmp_path / "net.onnx")
    (tmp_path / "names.txt").write_text("r\ng\nb\n", encoding="utf-8")
    picture = str(photos / "coffee.png")
    classify = ["classify", picture, "--model", "net.onnx", "--labels", "names.txt", "--resize", str(SIDE)]
    done = run(*classify)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime on cpu (an ONNX file; cpu: this onnxruntime is built without CUDA)" in done.stdout
    done = run(*classify, "--device", "cuda")
    assert (done.returncode, done.stdout) == (2, "")
    assert "device cuda: this onnxruntime is built without CUDA" in done.stderr
    assert not (tmp_path / "imported").exists()
