"""The child that exports: once for all workers, and with nothing left of it however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tests.harness import wait_for
from tests.worker.engines.exports import (
    ROOT,
    choice_in,
    entries,
    exporters,
    start_classifying,
    start_exporting,
)
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.exports.cache import ExportError, exported
from worker.engines.select import open_model
from worker.models.weights import lock


def test_the_childs_errors_are_the_workers(folder: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean squeezenet1_1"):
        exported(ModelChoice(model="squeezenet11"), folder)
    with pytest.raises(SettingsError, match="cannot crop 80 pixels"):
        exported(choice_in(folder, crop=80), folder)
    with pytest.raises(SettingsError, match="No such file"):
        exported(choice_in(folder, model=f"resnet18@{folder / 'missing.pth'}"), folder)


def test_two_workers_at_once_export_once(folder: Path) -> None:
    before = entries(folder)
    shutil.rmtree(folder / "nanofleet")
    both = [start_exporting(folder) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("exporting") == 1
    assert entries(folder) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_told_to_stop_it_leaves_nothing(folder: Path) -> None:
    shutil.rmtree(folder / "nanofleet")
    stop = threading.Event()
    stop.set()
    with pytest.raises(NanofleetError, match="shut down"):
        exported(choice_in(folder), folder, stop)
    assert exporters(folder) == []
    assert entries(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("late", [False, True], ids=["while it starts", "while it exports"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_to_all_ends_it_without_a_word(
    signum: signal.Signals, code: int, late: bool, folder: Path
) -> None:
    with start_classifying(folder) as process:
        (exporter,) = wait_for(lambda: exporters(folder), what="a child")
        assert process.stderr
        said = process.stderr.readline() if late else ""
        os.killpg(process.pid, signum)
        more = process.stderr.read()
    assert process.returncode == code
    assert " INFO    exporting squeezenet1_1@" in said or not late
    assert more == ""
    assert entries(folder) == []
    wait_for(lambda: not Path(f"/proc/{exporter}").exists(), what="the child's end")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_killed_one_leaves_is_gone_with_the_next_start(folder: Path) -> None:
    with start_classifying(folder) as process:
        (exporter,) = wait_for(
            lambda: exporters(folder), what="a child"
        )  # before, it may hold its parent's lock
        process.kill()
    wait_for(lambda: not Path(f"/proc/{exporter}").exists(), what="the child's end")
    assert any(".part" in name for name in entries(folder))
    # What is under way in another process stays.
    (folder / "nanofleet" / ".other-0123.onnx.part").mkdir()
    with lock(folder / "nanofleet" / "other-0123.onnx"):
        _, path = exported(choice_in(folder), folder)
        kept = {".other-0123.onnx.part", path.name, path.with_suffix(".json").name}
        assert set(entries(folder)) == kept
    exported(choice_in(folder), folder)
    assert set(entries(folder)) == kept - {".other-0123.onnx.part"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_that_somebody_ends_is_an_export_error_and_auto_goes_on_with_torch(folder: Path) -> None:
    shutil.rmtree(folder / "nanofleet")

    def end() -> None:
        os.kill(wait_for(lambda: exporters(folder), what="a child")[0], signal.SIGHUP)

    killer = threading.Thread(target=end)
    killer.start()
    with pytest.raises(ExportError, match=r"the export was killed \(SIGHUP\), without an error message"):
        exported(choice_in(folder), folder)
    killer.join()
    assert entries(folder) == []

    killer = threading.Thread(target=end)
    killer.start()
    labels = folder / "labels.txt"
    labels.write_text("x\ny\nz\n", encoding="utf-8")
    choice = choice_in(folder, labels=labels)
    _, engine = open_model(choice, engine="auto", device="cpu", max_batch=1, weights_dir=folder)
    killer.join()
    assert engine.name == "torch"
    assert "onnxruntime is faster, but the export was killed (SIGHUP), without an error message" in engine.why


def test_too_little_memory_costs_no_export(folder: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from wire.model_choice import ModelChoice
        from wire.errors import NanofleetError, SettingsError
        from worker.engines.select import open_model

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        import onnxruntime, worker.engines.exports.cache, worker.engines.onnx_engine
        choice, folder = ModelChoice.model_validate_json(sys.argv[1]), Path(sys.argv[2])
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, ((pages << 12) + (2 << 20),) * 2)
        try:
            open_model(choice, engine="onnxruntime", device="cpu", max_batch=2, weights_dir=folder)
        except SettingsError as error:
            print("settings", error)
        except NanofleetError as error:
            print("other", error)
    """
    before = entries(folder)
    command = [sys.executable, "-c", textwrap.dedent(script), choice_in(folder).model_dump_json()]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("other "), done.stdout + done.stderr
    assert entries(folder) == before
