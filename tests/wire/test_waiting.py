"""Waiting until something holds."""

from __future__ import annotations

from typing import List

import pytest

from wire.waiting import wait_until


def test_what_holds_already_is_not_checked() -> None:
    checks: List[int] = []
    assert wait_until(lambda: True, 0.0, check=lambda: checks.append(1))
    assert not checks


def test_a_condition_that_becomes_true() -> None:
    looks = iter([False, False, True])
    assert wait_until(lambda: next(looks), step=0.001)


def test_a_condition_that_stays_false() -> None:
    assert not wait_until(lambda: False, 0.01, step=0.001)


def test_a_failure_is_raised_even_where_the_time_is_over() -> None:
    def check() -> None:
        raise RuntimeError("it has failed")

    with pytest.raises(RuntimeError, match="it has failed"):
        wait_until(lambda: False, 0.0, check=check)
