"""The engine process's pulse: it keeps promising its parent to be heard of soon, and when it will have done.

One that is stopped, or in which a library keeps all threads of Python's from running, breaks its promise. No
alarm of its own would end it then: a stopped process takes no signal but SIGKILL. And one that was stopped
together with its parent, as by Ctrl-Z, would be ended by its alarm as soon as it went on.
"""

from __future__ import annotations

import math
import mmap
import time


class Pulse:
    """Memory of a parent and its child, made before the fork."""

    def __init__(self) -> None:
        self._times = memoryview(mmap.mmap(-1, 16)).cast("d")
        self.promise(math.inf)
        self.end_by(math.inf)

    def promise(self, seconds: float) -> None:
        """Promise to do so again within so many seconds."""
        self._times[0] = time.monotonic() + seconds

    def end_by(self, end: float) -> None:
        """Promise to have done by then, by the monotonic clock, what is in hand."""
        self._times[1] = end

    @property
    def late(self) -> float:
        """Seconds for which the last promise has been broken; below 0 while it holds."""
        return time.monotonic() - self._times[0]

    @property
    def overdue(self) -> float:
        """Seconds for which what is in hand should have been done; below 0 while there is time."""
        return time.monotonic() - self._times[1]
