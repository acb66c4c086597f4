"""Killing a worker at the worst moment: while it has frames at work."""

from __future__ import annotations

import signal
import struct
import time
from typing import Callable

import pytest

from tests.harness import WorkerProcess


def at_work(worker: WorkerProcess) -> int:
    """How many frames a worker has begun and not ended, by its own notes on disk."""
    notes = worker.log.with_suffix(".attempts").read_bytes()
    return sum(attempts > 0 for _, attempts in struct.iter_unpack("<16sB", notes))


def kill_at_work(
    worker: WorkerProcess, more: Callable[[], None] = lambda: time.sleep(0.01), timeout: float = 30.0
) -> None:
    """Kill a worker while it has frames at work: it is stopped to be looked at, and let go on if not.

    Args:
        worker: which.
        more: brings frames, where none may be left: it may have stepped aside, or have answered all.
        timeout: seconds until it must have had some.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        worker.process.send_signal(signal.SIGSTOP)
        if at_work(worker):
            worker.stop(signal.SIGKILL)
            return
        worker.process.send_signal(signal.SIGCONT)
        more()
    pytest.fail(f"{worker.id} had nothing at work for {timeout} s")
