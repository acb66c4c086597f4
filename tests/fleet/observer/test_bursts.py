"""Resting between answers: never for long, and never where few come."""

from __future__ import annotations

import pytest

from fleet.observer.bursts import Bursts


@pytest.mark.parametrize(("gap", "most"), [(1.0, 0.0), (0.06, 0.0), (0.004, 0.8), (0.0001, 0.8)])
def test_it_rests_where_answers_come_fast(gap: float, most: float) -> None:
    now, slept = 1000.0, 0.0

    def sleep(seconds: float) -> None:
        nonlocal now, slept
        now += seconds
        slept += seconds

    bursts = Bursts(clock=lambda: now, sleep=sleep)
    since = now
    for _ in range(2000):
        now += gap
        bursts.rest()
    assert slept <= most * (now - since)
    assert bool(slept) == bool(most)
