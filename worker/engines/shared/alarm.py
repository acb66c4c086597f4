"""A limit of time for batches: one that takes longer ends the process, so that the next one can go on.

It is the kernel that ends it, by SIGALRM: a library that hangs may keep all threads of Python's from running.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Dict, Iterator

#: What ends it.
STALLED = signal.SIGALRM
#: Seconds, at most, because the kernel does not count to any number: three years.
_LONGEST = 1e8


class Alarm:
    """A process has one; its threads share it."""

    def __init__(self, seconds: float) -> None:
        """Begin with nothing that is to end in time.

        Args:
            seconds: how long each block may last.
        """
        self._seconds = min(seconds, _LONGEST)
        self._lock = threading.Lock()
        #: When each block that lasts has to have ended, the earliest first.
        self._ends: Dict[object, float] = {}

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """End the process if the block lasts too long."""
        block = object()
        with self._lock:
            self._ends[block] = time.monotonic() + self._seconds
            if len(self._ends) == 1:
                self._set()
        try:
            yield
        finally:
            with self._lock:
                del self._ends[block]
                self._set()

    def _set(self) -> None:
        first = next(iter(self._ends.values()), None)
        # Zero would be none at all.
        left = 0.0 if first is None else max(first - time.monotonic(), 1e-3)
        signal.setitimer(signal.ITIMER_REAL, left)
