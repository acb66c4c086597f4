"""Exports that a small machine does not carry: warned of, named, and not followed by what takes as much."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Callable, Iterator, List

import pytest
import torch
import torchvision.models as zoo

from tests.harness import processes_of, wait_for
from wire.errors import NanofleetError
from wire.model_choice import ModelChoice
from worker import memory
from worker.engines.child import how_it_ended
from worker.engines.exports.cache import ExportError, exported
from worker.engines.exports.failures import needed
from worker.engines.exports.process import _why
from worker.engines.select import open_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = (
    "export it on another machine "
    "(nanofleet models export squeezenet1_1@{} FILE.onnx --resize 72 --crop 64), and serve"
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "mine.pth"
    torch.save(zoo.squeezenet1_1(weights=None, num_classes=3).state_dict(), path)
    return path


@pytest.fixture
def struck(tmp_path: Path) -> Iterator[Callable[[signal.Signals], None]]:
    """Have the next process that exports below the test's folder die of a signal."""
    threads: List[threading.Thread] = []

    def strike(signum: signal.Signals) -> None:
        def act() -> None:
            (exporter,) = wait_for(lambda: exporters(tmp_path), what="a child")
            os.kill(exporter, signum)

        threads.append(threading.Thread(target=act))
        threads[-1].start()

    yield strike
    for thread in threads:
        thread.join()


def exporters(folder: Path) -> List[int]:
    return processes_of("worker.engines.exports.process", folder)


def choice_of(checkpoint: Path) -> ModelChoice:
    return ModelChoice(model=f"squeezenet1_1@{checkpoint}", crop=64, resize=72)


@pytest.mark.parametrize(
    ("signum", "exit_code", "says"),
    [
        (signal.SIGKILL, 1, "was killed (SIGKILL), as the system does when memory runs out; torch"),
        (signal.SIGILL, 2, "crashed (SIGILL): torch"),
        (signal.SIGABRT, 1, "crashed (SIGABRT): either it was refused memory, of which it takes"),
        (signal.SIGSEGV, 1, "crashed (SIGSEGV), and a worker that runs PyTorch itself would, too: torch"),
    ],
)
def test_the_signal_is_named_with_a_remedy_and_the_worker_does_not_go_on_with_pytorch(
    signum: signal.Signals,
    exit_code: int,
    says: str,
    checkpoint: Path,
    struck: Callable[[signal.Signals], None],
) -> None:
    struck(signum)
    with pytest.raises(NanofleetError) as raised:
        open_model(
            choice_of(checkpoint), engine="auto", device="cpu", max_batch=1, weights_dir=checkpoint.parent
        )
    text = str(raised.value)
    assert says in text
    assert ELSEWHERE.format(checkpoint) in text
    assert raised.value.exit_code == exit_code
    assert not isinstance(raised.value, ExportError)
    assert [path.suffix for path in (checkpoint.parent / "nanofleet").iterdir()] == [".lock"]


def test_a_killed_export_ends_the_command_with_the_figures(
    checkpoint: Path, struck: Callable[[signal.Signals], None]
) -> None:
    struck(signal.SIGKILL)
    command = [sys.executable, "-m", "fleet", "classify", "cat.jpg", "--model", f"squeezenet1_1@{checkpoint}"]
    done = subprocess.run(
        [*command, "--weights-dir", str(checkpoint.parent)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert f"takes {needed()} MiB or more for it" in last
    assert "MiB were free, swap included. Add swap, or export it on another machine" in last


def test_one_that_is_refused_memory_is_no_reason_for_pytorch_either(checkpoint: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from wire.model_choice import ModelChoice
        from wire.errors import NanofleetError
        from worker.engines.select import open_model
        import worker.engines.exports.cache, worker.engines.onnx_engine

        choice, folder = ModelChoice.model_validate_json(sys.argv[1]), Path(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
        try:
            open_model(choice, engine="auto", device="cpu", max_batch=2, weights_dir=folder)
        except NanofleetError as error:
            print(error.exit_code, error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), choice_of(checkpoint).model_dump_json()]
    done = subprocess.run(
        [*command, str(checkpoint.parent)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(
        f"1 squeezenet1_1@{checkpoint}: there is too little memory to export it; "
    ), done.stdout + done.stderr
    assert ELSEWHERE.format(checkpoint) in done.stdout


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 200 MiB, where this machine lets one be made."""
    group = Path("/sys/fs/cgroup/memory") / f"nanofleet-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group for memory can be made here")
    try:
        for limit in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            if (group / limit).exists():  # the second not where the kernel does not count swap
                (group / limit).write_text(str(200 << 20), encoding="ascii")
        yield group
    finally:
        group.rmdir()


def test_one_that_the_kernel_kills_was_warned_of(checkpoint: Path, small_group: Path) -> None:
    enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(small_group)]
    classify = [sys.executable, "-m", "fleet", "classify", "cat.jpg", "--weights-dir", str(checkpoint.parent)]
    command = [*enter, *classify, "--model", f"squeezenet1_1@{checkpoint}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, *_, last = done.stderr.splitlines()
    assert re.search(
        rf"takes {needed()} MiB of memory or more, and 1?\d\d MiB are free, swap included", first
    )
    assert "was killed (SIGKILL), as the system does when memory runs out" in last
    assert done.returncode == 1


def test_the_kernel_takes_an_export_before_the_worker_beside_it(checkpoint: Path) -> None:
    stop = threading.Event()
    seen: List[bool] = []

    def watch() -> None:
        (exporter,) = wait_for(lambda: exporters(checkpoint.parent), what="a child")
        score = Path(f"/proc/{exporter}/oom_score_adj")
        seen.append(wait_for(lambda: score.read_text() == "1000\n", what="the export's place"))
        stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    with pytest.raises(NanofleetError, match="shut down"):
        exported(choice_of(checkpoint), checkpoint.parent, stop)
    thread.join()
    assert seen == [True]


def test_little_memory_is_said_before(
    checkpoint: Path,
    struck: Callable[[signal.Signals], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = checkpoint.parent / "meminfo"
    monkeypatch.setattr(memory, "MACHINE", machine)
    for megabytes, warned in ((300, True), (needed() + 50, False)):
        caplog.clear()
        machine.write_text(f"MemAvailable: {(megabytes - 50) << 10} kB\nSwapFree: {50 << 10} kB\n")
        struck(signal.SIGHUP)
        with pytest.raises(ExportError):
            exported(choice_of(checkpoint), checkpoint.parent)
        said = f"its export takes {needed()} MiB of memory or more, and 300 MiB are free, swap included"
        assert (said in caplog.text) is warned
        assert (ELSEWHERE.format(checkpoint) in caplog.text) is warned


@pytest.mark.parametrize(
    ("exit_code", "says"),
    [
        (1, "ended with exit code 1"),
        (-7, "crashed (SIGBUS)"),
        (-15, "was killed (SIGTERM)"),
        (-40, "signal 40"),
    ],
)
def test_every_end_has_a_name(exit_code: int, says: str) -> None:
    assert says in how_it_ended(exit_code)


class Undecided(torch.nn.Module):
    """Cannot be exported: which way it goes depends on the pixels."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.sum() > 0:
            return pixels
        return -pixels


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9),
    reason="an older exporter takes one of the ways",
)
def test_what_the_exporter_says_comes_without_its_colours(tmp_path: Path) -> None:
    logging.getLogger("torch").setLevel(logging.ERROR)
    with pytest.raises(Exception, match="\x1b") as raised:
        torch.onnx.export(
            Undecided().eval(), (torch.ones(2, 3),), str(tmp_path / "x.onnx"), dynamo=True, verbose=False
        )
    said = _why(raised.value)
    assert said.isprintable()
    assert "depend" in said, said
