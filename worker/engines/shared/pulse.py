"""The engine process's pulse: it keeps promising its parent to be heard of soon, as long as it runs.

One that is stopped, or in which a library keeps all threads of Python's from running, breaks its promise. No
alarm of its own would end it then: a stopped process takes no signal but SIGKILL.
"""

from __future__ import annotations

import mmap
import time


class Pulse:
    """Memory of a parent and its child, made before the fork."""

    def __init__(self) -> None:
        self._until = memoryview(mmap.mmap(-1, 8)).cast("d")

    def promise(self, seconds: float) -> None:
        """Promise to do so again within so many seconds."""
        self._until[0] = time.monotonic() + seconds

    @property
    def late(self) -> float:
        """Seconds for which the last promise has been broken; below 0 while it holds."""
        return time.monotonic() - self._until[0]
