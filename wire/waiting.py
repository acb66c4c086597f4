"""Waiting until something is true."""

from __future__ import annotations

import time
from typing import Callable

#: Seconds between two looks.
STEP_SECONDS = 0.05


def wait_until(
    condition: Callable[[], object],
    seconds: float = float("inf"),
    *,
    check: Callable[[], object] = lambda: None,
    step: float = STEP_SECONDS,
) -> bool:
    """Wait until a condition holds, by looking again and again.

    It waits on no event or condition variable: before Python 3.11 a clock that is set back makes those wait
    for as much longer, and a signal's handler may not set an event that its own thread waits on.

    Args:
        condition: what to wait for.
        seconds: how long, by the monotonic clock.
        check: called after each look in vain; what it raises ends the waiting.
        step: seconds between two looks.

    Returns:
        Whether the condition held before the time was over.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        check()
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(step, left))
    return True
