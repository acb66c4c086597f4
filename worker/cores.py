"""How many processors this process may use: those it may run on, as far as its control groups let it."""

from __future__ import annotations

import contextlib
import math
import os
from typing import Iterator

from worker import control_groups

#: At most. Not measured on more than two processors.
_THREADS_OF_A_BATCH = 4


def available() -> int:
    """Processors; of a part of one, as `docker run --cpus 1.5` gives, the whole."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(limit) for limit in _limits())]))


def batches() -> int:
    """Batches for an engine to compute at the same time on these processors, each with its share of them.

    Two, so that while one waits for its slowest thread, or for Python, the other goes on; more on more
    processors, because the few pictures of a batch do not keep many threads busy.
    """
    return max(2, math.ceil(available() / _THREADS_OF_A_BATCH))


def _limits() -> Iterator[float]:
    """Processors that each group with a limit may keep busy: the time it may use, by the time in which."""
    for folder in control_groups.folders(""):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)  # no number where it is "max"
    for folder in control_groups.folders("cpu"):
        time, period_1 = (
            control_groups.number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")
        )
        if time and period_1 and time > 0:  # -1 where there is no limit
            yield time / period_1
