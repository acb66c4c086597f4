"""The time that a decoder process has, in which it may run: not what passes while all are stopped.

Ctrl-Z, `docker pause` and `systemctl freeze` stop it and its parent alike.
"""

from __future__ import annotations

import select
import time

#: Seconds that a wait ends too late: this process was stopped meanwhile, and so may the other have been.
_STOPPED = 0.5


class Limit:
    """So many seconds from now on, and all of them again from when this process was stopped."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def wait(self, pipe: select.poll) -> None:
        """Wait for a pipe.

        Raises:
            TimeoutError: it is too late.
        """
        while not pipe.poll(max(0.0, self._end - time.monotonic()) * 1000):
            if time.monotonic() - self._end < _STOPPED:
                raise TimeoutError
            self._end = time.monotonic() + self._seconds
