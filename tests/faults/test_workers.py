"""Workers that die, hang, leave, are slow, or are there twice. The frames come from a plain QoS 1 client."""

from __future__ import annotations

import signal
import time
from typing import Callable

import pytest

from tests.faults.case import QUICK, Case
from tests.faults.proxy import PUBACK, Proxy
from tests.harness import wait_for

FRAMES = 1000


def port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def test_one_of_three_is_killed_and_returns(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("one of three workers killed, back after 5 s", mosquitto_url)
    victim, *_ = fleet.start(3)
    fleet.send(FRAMES // 2)
    fleet.strike()
    victim.stop(signal.SIGKILL)
    fleet.send(FRAMES // 2)
    time.sleep(5)
    victim.start()
    fleet.wait_all()


def test_one_of_three_is_killed_for_good(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("one of three workers killed for good", mosquitto_url)
    victim, *_ = fleet.start(3)
    fleet.send(FRAMES // 2)
    fleet.strike()
    victim.stop(signal.SIGKILL)
    fleet.send(FRAMES // 2)
    fleet.wait_all()


def test_all_three_are_killed_and_return(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("all three workers killed and started again", mosquitto_url)
    workers = fleet.start(3)
    fleet.send(FRAMES // 2)
    fleet.strike()
    for worker in workers:
        worker.stop(signal.SIGKILL)
    fleet.send(FRAMES // 2)
    for worker in workers:
        worker.start()
    fleet.wait_all()


def test_a_worker_is_killed_between_its_answer_and_its_ack(
    case: Callable[..., Case], mosquitto_url: str
) -> None:
    """Its acks never reach the broker, its answers do; so each of those frames is answered twice."""
    fleet = case("killed between the answer's PUBACK and the frame's", mosquitto_url)
    with Proxy(port(mosquitto_url)) as proxy:
        proxy.swallow = [PUBACK]
        (victim,) = fleet.start(1, url=proxy.url)
        fleet.send(10)
        fleet.wait_all()
        fleet.strike()
        victim.stop(signal.SIGKILL)
        proxy.swallow = []
        victim.start()
        wait_for(lambda: sum(fleet.distinct.values()) == 20, 30, "each answered again")
        fleet.send(10)
        fleet.wait_all()
    assert fleet.row().duplicated == 10


def test_sigterm_in_the_middle_of_the_load(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("SIGTERM to one of three under load", mosquitto_url)
    leaver, *_ = fleet.start(3)
    fleet.send(FRAMES // 2)
    fleet.strike()
    leaver.process.terminate()
    fleet.send(FRAMES // 2)
    fleet.wait_all()
    assert leaver.stop() == 0
    assert fleet.row().duplicated == 0


def test_a_worker_is_stopped_for_20_s(case: Callable[..., Case], mosquitto_url: str) -> None:
    """Its lease of 1.5 s runs out: the others adopt it, and it finds its session gone when it goes on."""
    fleet = case("SIGSTOP of one of three for 20 s", mosquitto_url)
    victim, *_ = fleet.start(3)
    fleet.send(200)
    fleet.strike()
    victim.process.send_signal(signal.SIGSTOP)
    fleet.send(200)
    time.sleep(20)
    victim.process.send_signal(signal.SIGCONT)
    fleet.send(200)
    fleet.wait_all()


def test_one_is_ten_times_slower(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("one of three ten times slower", mosquitto_url)
    fleet.start(2)
    # Eight frames each 0.8 s.
    fleet.start(1, "--window", "8", "--max-batch", "9", "--max-delay", "0.8")
    fleet.strike()
    fleet.send(300)
    fleet.wait_all()
    assert fleet.row().duplicated == 0


def test_two_workers_with_one_id(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("two workers started with the same id", mosquitto_url)
    (first,) = fleet.start(1)
    fleet.send(100)
    fleet.strike()
    folder = fleet.folder / "elsewhere"
    folder.mkdir()
    twin = type(first)(folder, fleet.url, fleet.root, first.id, *QUICK)
    try:
        fleet.send(200)
        assert first.process.wait(60) == 4
        fleet.send(200)
        fleet.wait_all()
    finally:
        assert twin.stop() == 0


@pytest.mark.parametrize("fault", ["cut for 30 s", "half-open", "slow: 200 kB/s"])
def test_the_network(case: Callable[..., Case], mosquitto_url: str, fault: str) -> None:
    """Between the broker and two of three workers."""
    fleet = case(f"network {fault}", mosquitto_url)
    with Proxy(port(mosquitto_url)) as proxy:
        fleet.start(1)
        fleet.start(2, url=proxy.url)
        fleet.send(100)
        fleet.strike()
        if fault.startswith("slow"):
            proxy.speed = 200_000
            fleet.send(200)
        else:
            proxy.cut, proxy.frozen = fault.startswith("cut"), fault == "half-open"
            fleet.send(200)
            time.sleep(30 if proxy.cut else 10)
            proxy.cut = proxy.frozen = False
            fleet.send(100)
        fleet.wait_all()
        proxy.speed = None
