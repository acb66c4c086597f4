"""What a worker does when it is told to drain or to restart, and which of that it ignores."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Iterator, List

import pytest

from tests.faults.killing import at_work
from tests.faults.proxy import Proxy
from tests.fleets import Fleet, on_both_brokers
from tests.harness import Listener, WorkerProcess, statuses, wait_for
from tests.metrics import metric
from tests.ports import free_port
from tests.tiny import tiny_model
from wire.messages import Result, WorkerAction, WorkerStatus

DRAIN, RESTART = WorkerAction(action="drain").encode(), WorkerAction(action="restart").encode()
#: Nothing fills such a batch: the frame is at work for as long as it may be delayed.
SLOW = ("--max-delay", "2", "--max-batch", "64")


class Supervisor:
    """What systemd is to a unit with Type=notify."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._heard: List[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def notified(self, state: str) -> int:
        """How often it was notified of a state."""
        return self._heard.count(state)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:  # all the time, because one who notifies waits for that
        while True:
            state = self._socket.recv(100).decode()
            if not state:
                return
            self._heard.append(state)


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Supervisor]:
    """The supervisor of all workers that start from here on."""
    made = Supervisor(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.close()


def press(
    listener: Listener, fleet: Fleet, worker: WorkerProcess, payload: bytes, retain: bool = False
) -> None:
    listener.publish(f"{fleet.root}/control/{worker.id}/action", payload, retain=retain)


def online(listener: Listener) -> List[WorkerStatus]:
    return [status for status in statuses(listener.messages) if status.state == "online"]


def answers(listener: Listener, fleet: Fleet) -> List[Result]:
    return [Result.decode(message.payload) for message in listener.on(f"{fleet.root}/results/")]


def test_drain_answers_what_is_in_hand_and_ends_with_0(photos: Path, fleet: Fleet) -> None:
    listener = fleet.listen("results/+", "workers/+")
    worker = fleet.worker(*SLOW)
    for number in range(3):
        fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id=f"f{number}")
    wait_for(lambda: at_work(worker), what="the frames at work")
    press(listener, fleet, worker, DRAIN)
    assert worker.process.wait(60) == 0
    wait_for(lambda: statuses(listener.messages)[-1].state == "offline", what="its last status")
    assert {answer.frame_id for answer in answers(listener, fleet)} == {"f0", "f1", "f2"}


def test_restart_comes_back_as_another_instance_that_answers(
    photos: Path, fleet: Fleet, supervisor: Supervisor
) -> None:
    listener = fleet.listen("results/+", "workers/+")
    worker = fleet.worker(*SLOW)
    began = metric(worker, "nanofleet_start_time_seconds")
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="before")
    wait_for(lambda: at_work(worker), what="the frame at work")
    press(listener, fleet, worker, RESTART)
    wait_for(lambda: len({status.instance for status in online(listener)}) == 2, 90, "another instance")
    assert [answer.frame_id for answer in answers(listener, fleet)] == ["before"]
    assert worker.process.poll() is None, "it is the same process to its supervisor"
    wait_for(lambda: supervisor.notified("READY=1") == 2, what="ready again")
    assert supervisor.notified("STOPPING=1") == 0, "systemd would kill it after that"
    assert metric(worker, "nanofleet_start_time_seconds") > began, "Prometheus sees another start"
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="after")
    wait_for(lambda: len(answers(listener, fleet)) == 2, what="the new instance's answer")
    assert worker.stop() == 0
    assert supervisor.notified("STOPPING=1") == 1


def test_a_signal_while_it_drains_for_a_restart_lets_it_drain_and_stay_away(
    photos: Path, fleet: Fleet
) -> None:
    listener = fleet.listen("results/+", "workers/+")
    worker = fleet.worker(*SLOW)
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="f0")
    wait_for(lambda: at_work(worker), what="the frame at work")
    press(listener, fleet, worker, RESTART)
    worker.wait_said("draining")
    assert worker.stop(signal.SIGTERM) == 0
    assert [answer.frame_id for answer in answers(listener, fleet)] == ["f0"]
    assert len({status.instance for status in online(listener)}) == 1


@on_both_brokers
def test_what_was_queued_while_it_was_away_is_ignored(photos: Path, fleet: Fleet) -> None:
    listener = fleet.listen("results/+")
    worker = fleet.worker()
    worker.stop(signal.SIGKILL)
    press(listener, fleet, worker, RESTART)
    worker.start()
    worker.wait_said("that was sent before this worker was connected")
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="f0")
    wait_for(lambda: answers(listener, fleet), what="its answer")
    assert worker.stop() == 0
    assert not worker.said("action: restart")


@on_both_brokers
def test_what_is_retained_is_ignored(photos: Path, fleet: Fleet) -> None:
    listener = fleet.listen("results/+")
    listener.publish(f"{fleet.root}/control/{fleet.root}-w1/action", RESTART, retain=True)
    worker = fleet.worker()
    worker.wait_said("ignored the retained action")
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="f0")
    wait_for(lambda: answers(listener, fleet), what="its answer")
    assert worker.stop() == 0
    assert worker.log.read_text().count("retained action") == 1
    assert not worker.said("action: restart")
    press(listener, fleet, worker, b"", retain=True)


def test_what_is_retained_while_it_is_connected_is_followed_once(fleet: Fleet) -> None:
    listener = fleet.listen()
    worker = fleet.worker()
    press(listener, fleet, worker, DRAIN, retain=True)
    assert worker.process.wait(60) == 0
    worker.start()
    worker.wait_said("ignored the retained action")
    press(listener, fleet, worker, b"", retain=True)


def test_wrong_payloads_change_nothing(photos: Path, fleet: Fleet) -> None:
    listener = fleet.listen("results/+", "workers/+")
    worker = fleet.worker()
    for payload in (
        b"",
        b"drain",
        b'{"action": "reboot"}',
        b'{"schema": 2, "action": "drain"}',
        b"\xff" * 70_000,
    ):
        press(listener, fleet, worker, payload)
    wait_for(lambda: worker.log.read_text().count("not a WorkerAction") == 4, what="four faults in its log")
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="f0")
    wait_for(lambda: answers(listener, fleet), what="its answer")
    press(listener, fleet, worker, DRAIN)
    assert worker.process.wait(60) == 0


def test_with_ignore_control_it_follows_none(photos: Path, fleet: Fleet) -> None:
    listener = fleet.listen("results/+", "workers/+")
    worker = fleet.worker("--ignore-control")
    press(listener, fleet, worker, DRAIN)
    # The broker would have delivered the action before this frame.
    fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="f0")
    wait_for(lambda: answers(listener, fleet), what="its answer")
    assert worker.stop() == 0
    assert not worker.said("action")


@pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")
def test_with_a_broker_of_its_own_it_drains_and_does_not_restart(tmp_path: Path, fleet: Fleet) -> None:
    url = f"embedded://127.0.0.1:{free_port(count=2)}"
    worker = WorkerProcess(tmp_path, url, fleet.root, "w1", *tiny_model())
    try:
        worker.wait_ready()
        listener = fleet.at(url.replace("embedded", "mqtt")).listen()

        def refused() -> bool:
            press(listener, fleet, worker, RESTART)  # ignored for a moment: this broker keeps no order
            return worker.said("no restart with --broker embedded")

        wait_for(refused)
        press(listener, fleet, worker, DRAIN)
        assert worker.process.wait(60) == 0
    finally:
        worker.process.kill()
        worker.process.wait()


def test_what_was_queued_while_its_connection_was_lost_is_ignored(photos: Path, fleet: Fleet) -> None:
    listener = fleet.listen("results/+")
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        worker = fleet.at(line.url).worker()
        line.cut()
        line.hang_up()
        worker.wait_said("trying again")
        press(listener, fleet, worker, DRAIN)
        line.heal()
        worker.wait_said("that was sent before this worker was connected")
        fleet.send("door", (photos / "rocket.jpg").read_bytes(), frame_id="f0")
        wait_for(lambda: answers(listener, fleet), what="its answer")
        press(listener, fleet, worker, DRAIN)
        assert worker.process.wait(60) == 0
