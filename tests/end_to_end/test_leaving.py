"""How a worker leaves when it is told to before its frames are done, or while the broker is away."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Callable, List

import pytest

from tests.faults.killing import at_work
from tests.faults.proxy import Proxy
from tests.fleets import Fleet
from tests.harness import Mosquitto, WorkerProcess, statuses, wait_for
from tests.ports import free_port
from tests.tiny import tiny_model


@pytest.mark.parametrize("flags", [[], ["--drain-timeout", "0.5"]], ids=["twice", "drain-timeout"])
def test_leaving_early_time_and_again_makes_no_frame_poison(
    flags: List[str],
    photos: Path,
    fleet: Fleet,
) -> None:
    # Nothing fills a batch of 64: the frame is at work for as long as it may be delayed.
    worker = fleet.worker("--max-delay", "4", "--max-batch", "64", *flags)
    listener = fleet.listen("results/+", "rejects/+")
    watcher = fleet.listen("workers/+")

    def changes() -> List[str]:
        states = [status.state for status in statuses(watcher.messages)]
        return [state for before, state in zip(["", *states], states) if state != before]

    fleet.send("door", (photos / "rocket.jpg").read_bytes())
    for life in range(1, 4):
        wait_for(lambda life=life: worker.log.read_text().count("connected to") == life, what="connected")  # type: ignore[misc]
        wait_for(lambda: at_work(worker), what="the frame at work")
        worker.process.send_signal(signal.SIGINT)
        if not flags:
            wait_for(
                lambda life=life: worker.log.read_text().count("interrupt again") == life,  # type: ignore[misc]
                what="draining",
            )
            # It says so to the user before it says so to the others.
            wait_for(lambda life=life: changes().count("draining") == life, what="its status")  # type: ignore[misc]
            worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(30) != 0
        assert not listener.messages
        assert worker.log.read_text().count("1 frames in hand go back to the broker") == life
        worker.start()
    wait_for(lambda: listener.messages, what="the answer")
    assert listener.messages[0].topic == f"{fleet.root}/results/door"
    # The will would say so as well, but later than the worker is back.
    lives = [*["online", "draining", "lost"] * 3, "online"]
    wait_for(lambda: len(changes()) >= len(lives), what="the watcher hears the last status as well")
    assert changes() == lives


def test_with_frames_in_hand_it_waits_for_a_broker_that_is_away(
    photos: Path,
    fleet: Fleet,
) -> None:
    listener = fleet.listen("workers/+", "results/+")
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        worker = fleet.at(line.url).worker("--max-delay", "4", "--max-batch", "64")
        fleet.send("door", (photos / "rocket.jpg").read_bytes())
        wait_for(lambda: at_work(worker), what="the frame at work")
        line.cut()
        line.hang_up()
        worker.wait_said("trying again")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_said("waiting for the broker, 60 s at most")
        line.heal()
        assert worker.process.wait(30) == 0
    # A session that was still subscribed would have its frames.
    wait_for(lambda: "offline" in [s.state for s in statuses(listener.messages)], what="its last status")
    assert statuses(listener.messages)[-1].state == "offline"
    assert [m.topic for m in listener.on(f"{fleet.root}/results/")] == [f"{fleet.root}/results/door"]


def test_with_nothing_in_hand_it_leaves_at_once_and_says_what_remains(
    photos: Path,
    fleet: Fleet,
) -> None:
    listener = fleet.listen("results/+")
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        # By far longer than it may take here: it shall not wait for this.
        worker = fleet.at(line.url).worker("--drain-timeout", "3600")
        line.cut()
        line.hang_up()
        worker.wait_said("trying again")
        assert worker.stop(signal.SIGTERM) == 1
        assert worker.said(f"the session of {worker.id} stays there for 86400 s, with 0 frames in hand")
        assert worker.said("its next start, or another of its group after --adopt-after")
        assert not worker.said("waiting for the broker")
        # And so it is: what the broker deals to the session meanwhile is not lost.
        fleet.send("door", (photos / "rocket.jpg").read_bytes())
        line.heal()
        worker.start()
        wait_for(lambda: listener.messages, what="the answer")
        assert worker.stop(signal.SIGTERM) == 0


def test_a_line_that_is_dead_without_a_word_holds_nobody_up(fleet: Fleet) -> None:
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        worker = fleet.at(line.url).worker("--drain-timeout", "3600", "--keepalive", "3600")
        line.cut()
        assert worker.stop(signal.SIGTERM) == 1
        assert worker.said(f"the broker is away: the session of {worker.id} stays there")


def test_after_a_line_that_broke_again_and_again_it_leaves_for_good(fleet: Fleet) -> None:
    """That looks like a second worker of its id; but on this broker it would have heard of one."""
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        worker = fleet.at(line.url).worker()
        for losses in (1, 2, 3):
            line.hang_up()
            wait_for(
                lambda losses=losses: worker.log.read_text().count("connected again") == losses,
                what="the next connection",
            )
        assert worker.said("does another worker run as")
        assert worker.stop() == 0
    assert worker.said("left with nothing in hand")


def test_told_to_leave_before_the_broker_has_answered_it_leaves_the_session_as_it_was(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    fleet: Fleet,
) -> None:
    """A broker that hangs reads later what it was sent, and must find no word in it that ends the session."""
    broker = mosquitto()
    fleet = fleet.at(broker.url)
    listener = fleet.listen("results/+")
    with Proxy(broker.port) as line:
        worker = fleet.at(line.url).worker("--ignore-control")
        worker.stop(signal.SIGKILL)
        fleet.send("door", (photos / "rocket.jpg").read_bytes())
        assert broker.process
        broker.process.send_signal(signal.SIGSTOP)
        before = len(line.lines)
        worker.start()
        wait_for(lambda: len(line.lines) > before, 90, "a connection that the broker does not answer")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_said("draining")
        broker.process.send_signal(signal.SIGCONT)
        assert worker.process.wait(30) == 0
        worker.start()
        wait_for(lambda: listener.messages, 90, "the answer")
        assert worker.stop(signal.SIGTERM) == 0


def test_it_waits_no_longer_than_drain_timeout(
    photos: Path,
    fleet: Fleet,
) -> None:
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        worker = fleet.at(line.url).worker("--max-delay", "4", "--max-batch", "64", "--drain-timeout", "1")
        fleet.send("door", (photos / "rocket.jpg").read_bytes())
        wait_for(lambda: at_work(worker), what="the frame at work")
        line.cut()
        line.hang_up()
        worker.wait_said("trying again")
        assert worker.stop(signal.SIGTERM) == 1
        assert worker.said("with 1 frames in hand and what comes to it")


@pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_of_the_whole_group_leaves_the_embedded_broker_for_the_last_answers(
    signum: signal.Signals, photos: Path, tmp_path: Path, fleet: Fleet
) -> None:
    url = f"embedded://127.0.0.1:{free_port(count=2)}"
    flags = ("--max-delay", "4", "--max-batch", "64", *tiny_model())
    worker = WorkerProcess(tmp_path, url, fleet.root, "w1", *flags, start_new_session=True)
    worker.wait_ready()
    fleet = fleet.at(url.replace("embedded", "mqtt"))
    listener = fleet.listen("results/+")
    fleet.send("door", (photos / "rocket.jpg").read_bytes())
    wait_for(lambda: at_work(worker), what="the frame at work")
    os.killpg(worker.process.pid, signum)
    try:
        assert worker.process.wait(30) == 0, worker.log.read_text()
    finally:
        worker.process.kill()
        worker.process.wait()
    wait_for(lambda: listener.messages, what="the answer")
    assert len(listener.messages) == 1
