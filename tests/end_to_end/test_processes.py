"""A worker of several processes: front ends that share one engine process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from tests.end_to_end.commanding import OTHER, USE_OTHER, answers, models, photo, start
from tests.end_to_end.front_ends import TWO, answered, engine_process, family, front_ends, ready
from tests.fleets import Fleet
from tests.harness import WorkerProcess, nanofleet, needs_root, statuses, wait_for
from tests.ports import free_port
from tests.tiny import COFFEE, tiny_model
from wire.messages import WorkerAction
from worker.membership.identity import claim_worker_id

RESTART = WorkerAction(action="restart").encode()
#: Nothing fills such a batch: the frame is at work for as long as it may be delayed.
SLOW = ("--max-delay", "10", "--max-batch", "64")


def test_every_frame_gets_the_answer_that_one_process_gives(fleet: Fleet, photos: Path) -> None:
    pictures = [(photos / name).read_bytes() for name in ("coffee.png", "rocket.jpg", "chelsea.png")]
    frames = {f"frame-{number}": pictures[number % 3] for number in range(30)}
    said: List[Dict[str, object]] = []
    for flags in ((), TWO):
        worker = fleet.worker(*flags, id=f"w{len(flags)}", wait=False)
        ready(worker, times=2 if flags else 1)
        listener = fleet.listen("results/+")
        for frame_id, image in frames.items():
            fleet.send("door", image, frame_id)
        wait_for(lambda: answered(listener) == set(frames), what="all answers")  # noqa: B023
        said.append({answer.frame_id: (answer.label, answer.top) for answer in answers(listener)})
        by = {answer.worker for answer in answers(listener)}
        assert by == ({f"{worker.id}-1", f"{worker.id}-2"} if flags else {worker.id})
        assert worker.stop() == 0
        assert worker.log.read_text().count("left with nothing in hand") == len(by)
    assert said[0] == said[1]


@pytest.mark.parametrize("which", ["front end", "engine process"])
def test_a_killed_process_returns_and_nothing_is_lost(fleet: Fleet, photos: Path, which: str) -> None:
    worker = ready(fleet.worker(*TWO, wait=False))
    listener = fleet.listen("results/+")
    frames = {f"frame-{number}" for number in range(60)}
    doomed = front_ends(worker)[0] if which == "front end" else engine_process(worker)
    for number, frame_id in enumerate(sorted(frames)):
        if number == 20:
            os.kill(doomed, signal.SIGKILL)
        fleet.send("door", photo(photos), frame_id)
    wait_for(lambda: answered(listener) == frames, what="all answers")
    if which == "front end":
        ready(worker, times=3)
    else:
        assert len(front_ends(worker)) == 2
        assert engine_process(worker) != doomed
    assert {answer.label for answer in answers(listener)} == {COFFEE}
    assert worker.said("was killed (SIGKILL); starting it again")
    assert worker.stop() == 0


@pytest.mark.parametrize("whom", ["the worker", "its whole group"])
def test_a_signal_has_all_answer_what_is_in_hand_and_leave(fleet: Fleet, photos: Path, whom: str) -> None:
    command = fleet.worker(*TWO, wait=False)
    ready(command)
    command.stop()
    worker = WorkerProcess(
        fleet.folder,
        fleet.url,
        fleet.root,
        f"{fleet.root}-again",
        *(*tiny_model(), *TWO),
        start_new_session=True,
    )
    ready(worker)
    listener = fleet.listen("results/+")
    frames = {f"frame-{number}" for number in range(40)}
    for frame_id in frames:
        fleet.send("door", photo(photos), frame_id)
    if whom == "the worker":
        worker.process.send_signal(signal.SIGTERM)
    else:
        os.killpg(worker.process.pid, signal.SIGINT)
    assert worker.process.wait(60) == 0, worker.log.read_text()
    wait_for(lambda: answered(listener) == frames, what="all answers")
    assert worker.log.read_text().count("left with nothing in hand") == 2


def test_a_second_signal_has_all_leave_at_once(fleet: Fleet, photos: Path) -> None:
    worker = ready(fleet.worker(*TWO, *SLOW, wait=False))
    listener = fleet.listen("results/+")
    fleet.send("door", photo(photos))
    worker.process.send_signal(signal.SIGINT)
    worker.wait_said("1 frames in hand")
    worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(30) == 130
    assert not answers(listener)


def test_a_command_to_the_fleet_changes_the_model_of_both_front_ends(fleet: Fleet, photos: Path) -> None:
    worker = ready(start(fleet, *TWO, wait=False))
    listener = fleet.listen("results/+", "workers/+")
    used = models(fleet, "use", *USE_OTHER)
    assert used.returncode == 0, used.stdout + used.stderr
    both = {f"{worker.id}-{number}": OTHER for number in (1, 2)}
    wait_for(lambda: {status.worker: status.weights for status in statuses(listener.messages)} == both)
    fleet.send("door", photo(photos), "afterwards")
    (answer,) = wait_for(lambda: answers(listener), what="an answer")
    assert answer.label != COFFEE
    assert models(fleet, "reset").returncode == 0
    fleet.send("door", photo(photos), "back")
    wait_for(lambda: answers(listener)[-1].frame_id == "back")
    assert answers(listener)[-1].label == COFFEE


def test_a_wrong_model_is_said_once(fleet: Fleet) -> None:
    worker = fleet.worker("--model", "resnet81", *TWO, wait=False)
    assert worker.process.wait(60) == 2
    assert worker.log.read_text().count("resnet18") == 1, worker.log.read_text()


def test_what_ends_the_supervisor_ends_all(fleet: Fleet) -> None:
    worker = ready(fleet.worker(*TWO, wait=False))
    pids = family(worker)
    assert len(pids) >= 5
    worker.process.kill()
    worker.process.wait()
    wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], what="no orphans")


def test_systemd_is_notified_when_all_are_ready_and_while_all_are_alive(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        worker = fleet.worker(*TWO, "--status-interval", "0.2", wait=False)
        for state in (b"READY=1", b"WATCHDOG=1"):
            while systemd.recv(100) != state:
                pass
        assert worker.log.read_text().count("connected to") == 2
        stuck = front_ends(worker)[0]
        os.kill(stuck, signal.SIGSTOP)
        systemd.settimeout(1)
        with contextlib.suppress(socket.timeout):
            for _ in range(5):  # what was sent before may still come
                systemd.recv(100)
            pytest.fail("systemd is told that all are alive")
        os.kill(stuck, signal.SIGCONT)
        worker.process.send_signal(signal.SIGTERM)
        systemd.settimeout(60)
        while systemd.recv(100) != b"STOPPING=1":
            pass
        assert worker.process.wait(60) == 0


@needs_root
def test_only_the_engine_process_has_the_runtime(fleet: Fleet) -> None:
    worker = ready(fleet.worker(*TWO, wait=False))
    has = {pid: "onnxruntime" in Path(f"/proc/{pid}/maps").read_text() for pid in family(worker)}
    assert [pid for pid in has if has[pid]] == [engine_process(worker)]


def test_a_front_end_that_is_restarted_over_the_broker_is_so_alone(fleet: Fleet) -> None:
    worker = ready(fleet.worker(*TWO, wait=False))
    before = set(front_ends(worker))
    fleet.listen().publish(f"{fleet.root}/control/{worker.id}-2/action", RESTART)
    ready(worker, times=3)
    assert len(before & set(front_ends(worker))) == 1
    assert not worker.said("starting it again")


def test_without_a_name_it_starts_beside_others_of_the_host(fleet: Fleet) -> None:
    command = [sys.executable, "-m", "fleet", "worker", "--broker", fleet.url, "--root", fleet.root]
    command += ["--state-dir", str(fleet.folder), "--metrics-port", "0", "--no-observe"]
    command += [*tiny_model(), "--engine", "onnxruntime", *TWO]
    listener = fleet.listen("workers/+")
    with contextlib.ExitStack() as others:
        host, *_ = (others.enter_context(claim_worker_id(fleet.folder, None)) for _ in range(3))
        with subprocess.Popen(command, cwd=fleet.folder) as worker:
            expected = {f"{host}-p-1", f"{host}-p-2"}
            wait_for(
                lambda: (
                    worker.poll() is not None
                    or {status.worker for status in statuses(listener.messages)} == expected
                )
            )
            worker.terminate()
            assert worker.wait(60) == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--broker", "embedded"), "embedded broker"),
        (("--worker-id", "w" * 63), "--worker-id"),
        (("--metrics-port", "65535"), "--metrics-port"),
        (("--device", "cuda:7"), "cuda:7"),
    ],
)
def test_what_cannot_be_shared_out(flags: List[str], says: str, tmp_path: Path) -> None:
    there = () if "--broker" in flags else ("--broker", f"mqtt://127.0.0.1:{free_port()}")
    command = ("worker", *there, "--state-dir", str(tmp_path), "--processes", "2", *tiny_model(), *flags)
    done = nanofleet(*command)
    assert (done.returncode, done.stderr.count(says)) == (2, 1), done.stderr
