"""Clocks that are an hour off, then an hour the other way, where frames older than 10 minutes are expired."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from tests.faults.case import Case
from tests.wrong_clock import WrongClock

HOUR = 3600.0


def test_the_publishers_clock_is_an_hour_off(
    case: Callable[..., Case], mosquitto_url: str, tmp_path: Path, times: int
) -> None:
    fleet = case("publisher's clock an hour behind, then an hour ahead; --max-age 600", mosquitto_url)
    clock = WrongClock(tmp_path, -HOUR)
    fleet.start(2, "--max-age", "600")
    with clock.shown(), fleet.publisher(200 * times, "--camera", "c0,c1,c2,c3") as publisher:
        fleet.wait_answers(50 * times)
        fleet.strike()
        clock.set(HOUR)
        fleet.finish(publisher)
    assert {heard.outcome for heard in fleet.answers} == {"result"}


def test_a_workers_clock_is_an_hour_off(
    case: Callable[..., Case], mosquitto_url: str, tmp_path: Path, times: int
) -> None:
    fleet = case(
        "one of two workers' clocks an hour ahead, then an hour behind; --max-age 600", mosquitto_url
    )
    clock = WrongClock(tmp_path, HOUR)
    right = fleet.start(1, "--max-age", "600")
    with clock.shown():
        wrong = fleet.start(1, "--max-age", "600")
    with fleet.publisher(200 * times, "--camera", "c0,c1,c2,c3") as publisher:
        fleet.wait_answers(50 * times)
        fleet.strike()
        clock.set(-HOUR)
        fleet.finish(publisher)
    assert {heard.outcome for heard in fleet.answers} == {"result"}
    assert {heard.answer.worker for heard in fleet.answers} == {worker.id for worker in right + wrong}
    assert not any(worker.said("adopting") for worker in right + wrong)
