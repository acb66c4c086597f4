"""A worker of several processes of which one hangs, dies again and again, or cannot start again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import IO, Iterator, List, Set

import pytest

from tests.end_to_end.commanding import OTHER, USE_OTHER, answers, models, photo, start
from tests.end_to_end.front_ends import TWO, answered, engine_process, family, front_ends, ready
from tests.fleets import Fleet
from tests.harness import Listener, WorkerProcess, processes_of, wait_for
from tests.tiny import COFFEE
from tests.worker.engines.graphs import slow_model
from tests.worker.engines.libraries import library
from tests.worker.test_watchdog import jpeg, model_that_hangs_on_white, needs_onnx
from wire.files import lock
from wire.messages import Rejection
from worker.watchdog import notify

#: Has this process ignore its children's ends, as its parent may have, and get all orphans, as a container's
#: first process does; then it is the command.
FIRST_PROCESS = """
import ctypes, os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def rejected(listener: Listener) -> Set[str]:
    """The ids of rejected frames, with the reasons."""
    rejections = [Rejection.decode(m.payload) for m in list(listener.messages) if "/rejects/" in m.topic]
    return {f"{rejection.frame_id} {rejection.reason.value}" for rejection in rejections}


def successor(worker: WorkerProcess, former: int) -> int:
    """Wait for the next engine process."""

    def found() -> int:
        with contextlib.suppress(ValueError, OSError):  # there is none, or not yet by its name
            pid = engine_process(worker)
            return pid if pid != former else 0
        return 0

    return int(wait_for(found, what="the next engine process"))


@needs_onnx
def test_a_frame_that_hangs_the_engine_is_rejected_and_no_other(fleet: Fleet, tmp_path: Path) -> None:
    model = model_that_hangs_on_white(tmp_path / "hangs.onnx")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    options = ("--model", str(model), "--labels", str(tmp_path / "labels.txt"), "--stall-timeout", "1")
    worker = ready(fleet.worker(*options, *TWO, wait=False))
    listener = fleet.listen("results/+", "rejects/+")
    white, black = jpeg(tmp_path / "white.jpg", "white"), jpeg(tmp_path / "black.jpg", "black")
    for number in range(20):
        fleet.send("door", white if number == 3 else black, f"frame-{number}")
    wait_for(lambda: rejected(listener), 60, "the rejection")
    assert rejected(listener) == {"frame-3 poison"}
    innocent = {f"frame-{number}" for number in range(20)} - {"frame-3"}
    wait_for(lambda: answered(listener) == innocent, what="all others answered")
    assert worker.said("engine process: a batch took longer than --stall-timeout")
    assert worker.stop() == 0
    assert rejected(listener) == {"frame-3 poison"}


def end_race(folder: Path) -> None:
    """Wait until a race hangs in its second candidate, and end that one's process."""
    wait_for(lambda: list(folder.glob("nanofleet/.*.part/first.npy")), what="the first one's answers")
    (hanging,) = wait_for(
        lambda: processes_of("worker.engines.fastest.process", folder), what="the second one"
    )
    os.kill(hanging, signal.SIGKILL)


@needs_onnx
def test_front_ends_wait_longer_than_a_stall_for_the_next_engine_process(
    fleet: Fleet, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, "hangs", monkeypatch)
    how = (*slow_model(tmp_path), "--engine", "auto", "--weights-dir", str(tmp_path))
    worker = fleet.worker(*how, *TWO, "--stall-timeout", "1", wait=False)
    end_race(tmp_path)
    ready(worker)
    listener, before = fleet.listen("results/+"), front_ends(worker)
    os.kill(engine_process(worker), signal.SIGKILL)
    frames = {f"frame-{number}" for number in range(20)}
    for frame_id in frames:
        fleet.send("door", photo(photos), frame_id)
    worker.wait_said("wait for the next one")
    time.sleep(3.5)  # what would be a stall by now
    end_race(tmp_path)
    wait_for(lambda: answered(listener) == frames, what="all answers")
    assert front_ends(worker) == before
    assert not worker.said("no sign of life")
    assert worker.stop() == 0


def test_an_engine_process_that_is_stopped_is_replaced_and_what_waited_is_answered(
    fleet: Fleet, photos: Path
) -> None:
    worker = ready(fleet.worker(*TWO, "--stall-timeout", "1", wait=False))
    listener, before = fleet.listen("results/+"), front_ends(worker)
    stopped = engine_process(worker)
    os.kill(stopped, signal.SIGSTOP)
    frames = {f"frame-{number}" for number in range(20)}
    for frame_id in frames:
        fleet.send("door", photo(photos), frame_id)
    wait_for(lambda: answered(listener) == frames, what="all answers")
    assert worker.said("engine process: no sign of life for 1 s (--stall-timeout); ending it")
    assert engine_process(worker) != stopped
    assert front_ends(worker) == before
    assert worker.stop() == 0


@needs_onnx
def test_what_is_stopped_as_a_whole_goes_on_as_if_nothing_had_been(
    fleet: Fleet, photos: Path, tmp_path: Path
) -> None:
    """As by Ctrl-Z, `docker pause` or `systemctl freeze`."""
    how = (*slow_model(tmp_path, scale=8), "--engine", "onnxruntime", "--stall-timeout", "4")
    soon = ("--status-interval", "1", "--adopt-after", "2")
    worker = ready(fleet.worker(*how, *soon, *TWO, wait=False))
    listener, before = fleet.listen("results/+"), family(worker)
    frames = {f"frame-{number}" for number in range(30)}
    for frame_id in frames:
        fleet.send("door", photo(photos), frame_id)
    wait_for(lambda: answered(listener), what="it is busy")
    everybody = [worker.process.pid, *before]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(7)  # longer than a batch or a picture may take, or another front end be silent
    assert len(answered(listener)) < len(frames)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: answered(listener) == frames, what="all answers")
    assert family(worker) == before, worker.log.read_text()
    assert not worker.said("does not return")
    assert worker.stop() == 0


def test_a_model_that_is_gone_when_the_engine_process_dies_gives_way_to_the_workers_own(
    fleet: Fleet, photos: Path
) -> None:
    worker = ready(start(fleet, *TWO, wait=False))
    listener = fleet.listen("results/+")
    used = models(fleet, "use", *USE_OTHER)
    assert used.returncode == 0, used.stdout + used.stderr
    (fleet.folder / "weights" / OTHER).unlink()
    os.kill(engine_process(worker), signal.SIGKILL)
    fleet.send("door", photo(photos), "afterwards")
    wait_for(lambda: answered(listener), what="an answer")
    assert answers(listener)[0].label == COFFEE
    assert worker.stop() == 0


@contextlib.contextmanager
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[List[bytes]]:
    """What systemd is notified of."""
    states: List[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def read() -> None:
            while states[-1:] != [b""]:
                states.append(systemd.recv(100))

        reading = threading.Thread(target=read)
        reading.start()
        try:
            yield states
        finally:
            notify("")
            reading.join()


def await_alive(states: List[bytes]) -> None:
    """Wait until systemd is notified three times from now on that all is well."""
    began = len(states)
    wait_for(lambda: states[began:].count(b"WATCHDOG=1") >= 3, what="WATCHDOG=1")


def take_id(worker: WorkerProcess, number: int) -> IO[str]:
    """Kill a front end, and get hold of its id before its supervisor starts the next one."""
    file = worker.log.with_name(f"{worker.id}-{number}.lock")
    worker.process.send_signal(signal.SIGSTOP)
    os.kill(int(file.read_text()), signal.SIGKILL)
    held: IO[str] = wait_for(lambda: lock(file), what="it lets go of its id")
    worker.process.send_signal(signal.SIGCONT)
    return held


def test_a_front_end_whose_id_is_taken_is_missing_and_the_others_go_on(
    fleet: Fleet, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notified(tmp_path, monkeypatch) as states:
        worker = ready(fleet.worker(*TWO, "--status-interval", "0.2", wait=False))
        with take_id(worker, 2):
            worker.wait_said("the others go on without it")
            listener = fleet.listen("results/+")
            for number in range(4):  # the broker keeps some for the one that is missing
                fleet.send("door", photo(photos), f"frame-{number}")
            wait_for(lambda: answered(listener), what="an answer")
            await_alive(states)
            assert len(front_ends(worker)) == 1
        assert worker.stop() == 4


def test_systemd_is_notified_while_a_front_end_waits_to_serve_again(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notified(tmp_path, monkeypatch) as states:
        worker = ready(fleet.worker(*TWO, "--status-interval", "0.2", wait=False))
        engine = engine_process(worker)
        os.kill(engine, signal.SIGSTOP)
        os.kill(front_ends(worker)[0], signal.SIGKILL)
        wait_for(lambda: worker.log.read_text().count(": loading ") == 3)
        await_alive(states)
        os.kill(engine, signal.SIGCONT)
        ready(worker, times=3)
        assert worker.stop() == 0


def test_the_first_process_of_a_container_leaves_no_zombies(fleet: Fleet) -> None:
    worker = fleet.worker(*TWO, wait=False)
    worker.stop()
    worker.command = [sys.executable, "-c", FIRST_PROCESS, *worker.command]
    worker.start()
    ready(worker)
    before = family(worker)
    os.kill(front_ends(worker)[0], signal.SIGKILL)
    ready(worker, times=3)
    wait_for(lambda: len(family(worker)) == len(before), what="no orphans")
    assert worker.stop() == 0
