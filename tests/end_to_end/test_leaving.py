"""How a worker leaves when it is told to before its frames are done, or while the broker is away."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Callable, List

import pytest

from tests.faults.case import at_work
from tests.faults.proxy import Proxy
from tests.harness import Listener, WorkerProcess, statuses, wait_for


@pytest.mark.parametrize("flags", [[], ["--drain-timeout", "0.5"]], ids=["twice", "drain-timeout"])
def test_leaving_early_time_and_again_makes_no_frame_poison(
    flags: List[str],
    mosquitto_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    # Nothing fills a batch of 64: the frame is at work for as long as it may be delayed.
    worker = start_worker(mosquitto_url, "--max-delay", "4", "--max-batch", "64", *flags)
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/rejects/+")
    listener.publish(f"{root}/frames/door", (photos / "rocket.jpg").read_bytes())
    for life in range(1, 4):
        wait_for(lambda life=life: worker.log.read_text().count("connected to") == life, what="connected")  # type: ignore[misc]
        wait_for(lambda: at_work(worker), what="the frame at work")
        worker.process.send_signal(signal.SIGINT)
        if not flags:
            wait_for(
                lambda life=life: worker.log.read_text().count("interrupt again") == life,  # type: ignore[misc]
                what="draining",
            )
            worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(3) != 0
        assert not listener.messages
        worker.start()
    wait_for(lambda: listener.messages, what="the answer")
    assert listener.messages[0].topic == f"{root}/results/door"


def test_a_worker_that_is_told_to_leave_while_the_broker_is_away_waits_for_it(
    mosquitto_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    listener = listen(mosquitto_url, f"{root}/workers/+")
    with Proxy(int(mosquitto_url.rpartition(":")[2])) as line:
        worker = start_worker(line.url)
        line.cut()
        line.hang_up()
        worker.wait_said("trying again")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_said("waiting for the broker, 60 s at most")
        line.heal()
        assert worker.process.wait(30) == 0
    # A session that was still subscribed would have its frames.
    assert statuses(listener.messages)[-1].state == "offline"
    listener.publish(f"{root}/frames/door", b"for nobody")


def test_and_says_so_if_the_broker_does_not_return(
    mosquitto_url: str, start_worker: Callable[..., WorkerProcess]
) -> None:
    with Proxy(int(mosquitto_url.rpartition(":")[2])) as line:
        worker = start_worker(line.url, "--drain-timeout", "1")
        line.cut()
        line.hang_up()
        worker.wait_said("trying again")
        assert worker.stop(signal.SIGTERM) == 1
        assert worker.said("the broker is away: it deals frames to this worker until the next start")
