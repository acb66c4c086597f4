"""What killed processes leave of races, exports and graphs in int8: the next start removes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import IO, Sequence

import pytest

from tests.end_to_end.front_ends import TWO, engine_process, ready
from tests.fleets import Fleet
from tests.harness import processes_of, wait_for
from tests.worker.engines.exports import ROOT
from tests.worker.engines.graphs import slow_model
from tests.worker.engines.libraries import library
from worker.decode.preprocessing import Preprocessing
from worker.engines.exports.entry import Entry
from worker.engines.leftovers import remove_leftovers, temporary_folder
from worker.models.info import Model
from worker.models.weights import lock

#: Where a race is held: beside the weights, or in a temporary folder where that cannot be.
PLACES = {"beside the weights": ("weights/nanofleet", ".*.part"), "temporary": ("temporary", "nanofleet-*")}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this process, and of those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize(
    ("place", "flags"), [("beside the weights", TWO), ("temporary", ("--processes", "1"))]
)
def test_what_is_left_of_a_race_goes_with_the_next_start_whatever_that_serves(
    place: str,
    flags: Sequence[str],
    fleet: Fleet,
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library(tmp_path, "hangs", monkeypatch)
    weights = tmp_path / "weights"
    if place == "temporary":
        weights.touch()
    folder, pattern = PLACES[place]
    model = [*slow_model(tmp_path), "--weights-dir", str(weights)]
    racing = fleet.worker(*model, "--engine", "auto", *flags, wait=False)
    wait_for(lambda: list((tmp_path / folder).glob(f"{pattern}/first.npy")), what="the first one's answers")
    doomed = engine_process(racing) if flags == TWO else racing.process.pid
    os.kill(doomed, signal.SIGKILL)
    racing.process.wait(60)
    wait_for(lambda: not processes_of("worker.engines.fastest.process", tmp_path), what="the child's end")
    assert list((tmp_path / folder).glob(pattern))
    ready(fleet.worker(*model, *flags, id="w2", wait=False), times=len(flags) // 2)
    assert not list((tmp_path / folder).glob(pattern))


def test_a_temporary_folder_is_there_for_as_long_as_its_process_wants_it(
    temporary: Path, tmp_path: Path
) -> None:
    with temporary_folder() as folder:
        (folder / "graph.onnx").touch()
        remove_leftovers(tmp_path)
        assert (folder / "graph.onnx").exists()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(temporary.iterdir())


def test_a_lock_that_another_start_has_removed_meanwhile_counts_for_nothing(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has made the folder may have made another one, and be working there."""

    def removed_once_opened(file: Path) -> IO[str]:
        held = (tmp_path / "removed").open("w", encoding="ascii")
        (tmp_path / "removed").unlink()
        return held

    with temporary_folder() as folder:
        monkeypatch.setattr("worker.engines.leftovers.lock", removed_once_opened)
        remove_leftovers(tmp_path)
        assert folder.exists()


def test_a_start_takes_nothing_from_those_that_start_beside_it(temporary: Path, tmp_path: Path) -> None:
    """Neither the description of an export that is half written, nor a temporary folder that is just made."""
    script = """
        import sys
        from pathlib import Path
        from worker.engines.leftovers import remove_leftovers

        print("starts", flush=True)
        while True:
            remove_leftovers(Path(sys.argv[1]))
    """
    (tmp_path / "nanofleet").mkdir()
    recipe = Preprocessing(resize=8, crop=8)
    net = Model(name="net", weights="none", sha256="0" * 64, classes=("a", "b"), preprocessing=recipe)
    path = tmp_path / "nanofleet" / "net-1.onnx"
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout
            assert other.stdout.readline()
            for _ in range(300):
                Entry(model=net).write(path, lasting=True)
                with temporary_folder() as folder:
                    (folder / "graph.onnx").touch()
        finally:
            other.kill()


def test_what_other_programs_keep_there_stays(tmp_path: Path) -> None:
    """As rsync's temporary files, and folders of whoever keeps the weights."""
    (tmp_path / ".net.part1.pth.a1B2c3").touch()
    (tmp_path / ".my.partners").mkdir()
    (tmp_path / ".net.part").touch()
    with lock(tmp_path / "net.part1.pth"):
        (tmp_path / ".net.part1.pth.part").touch()
        remove_leftovers(tmp_path)
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {".net.part1.pth.a1B2c3", ".my.partners", ".net.part1.pth.part"}


def test_what_others_have_planted_is_neither_followed_nor_removed(temporary: Path, tmp_path: Path) -> None:
    with temporary_folder() as folder:
        name = folder.name[:-1]
    precious = tmp_path / "precious"
    precious.mkdir()
    (temporary / f"{name}a").symlink_to(precious)
    (temporary / f"{name}b").mkdir()
    (temporary / f"{name}c").touch()
    if os.geteuid() == 0:
        os.chown(temporary / f"{name}b", 65534, 65534)
    remove_leftovers(tmp_path)
    left = {path.name[-1] for path in temporary.iterdir()}
    assert left == ({"a", "b", "c"} if os.geteuid() == 0 else {"a", "c"})
    assert not list(precious.iterdir())


def test_a_machine_on_which_nothing_can_be_written_has_nothing_left(tmp_path: Path) -> None:
    """A container whose files are read-only has no temporary folder."""
    script = """
        import resource, sys, tempfile
        from pathlib import Path
        from worker.engines.leftovers import remove_leftovers

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        remove_leftovers(Path(sys.argv[1]))
        try:
            tempfile.gettempdir()
        except FileNotFoundError:
            print("there is none")
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "there is none\n"), done.stderr
