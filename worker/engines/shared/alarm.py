"""Limits of time: a batch or a model that takes longer ends the process, so that the next one can go on.

It is its parent that ends it, by SIGALRM: a library that hangs may keep all threads of Python's from running.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from typing import Dict, Iterator

from worker.engines.shared.pulse import Pulse

#: What ends it.
STALLED = signal.SIGALRM
#: Seconds to open a model. A download over a slow network and TensorRT's building take a long while, and what
#: takes longer hangs.
OPEN_TIMEOUT = 3600.0


class Alarm:
    """A process has one; its threads share it."""

    def __init__(self, stall_timeout: float, pulse: Pulse) -> None:
        """Begin with nothing that is to end in time.

        Args:
            stall_timeout: seconds that a batch may take, and that the process may do without a pulse.
            pulse: its own.
        """
        self.stall_timeout = stall_timeout
        self._pulse = pulse
        self._lock = threading.Lock()
        #: When each block that lasts has to have ended.
        self._ends: Dict[object, float] = {}

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Have the process ended if the block lasts longer."""
        block = object()
        with self._lock:
            self._ends[block] = time.monotonic() + seconds
            self._set()
        try:
            yield
        finally:
            with self._lock:
                del self._ends[block]
                self._set()

    def beat(self) -> None:
        """Show that the process runs."""
        with self._lock:
            self._set()

    def _set(self) -> None:
        ends = self._ends.values()
        self._pulse.end_by(min(ends, default=math.inf))
        # What may take an hour may keep the next beat from coming for as long.
        self._pulse.promise(max([self.stall_timeout, *(end - time.monotonic() for end in ends)]))
