"""How late an answer is, by the clocks of workers that may all be wrong.

A worker's status comes as soon as it is sent. So the difference between this machine's clock and the time in
the status is the difference of the two clocks; an answer whose difference is larger was on its way for as
much longer: its worker had lost its connection, say.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Callable, Dict

#: Workers whose clocks are known, at most: on an open broker anyone may write statuses.
MAX_WORKERS = 2000
#: Seconds that an answer may take without being late: it goes through more hands than a status.
JITTER_SECONDS = 2.0


def boot_clock() -> float:
    """Seconds that no setting of the clock changes, and that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WorkerClocks:
    """The differences between this machine's clock and the workers'."""

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """Begin without any.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._differences: Dict[str, float] = {}

    def note(self, worker: str, sent_at: datetime, *, retained: bool = False) -> None:
        """Take the time in a status that has just come.

        One that was retained was sent some time ago. By it an answer seems less late than it was, and never
        later: so it serves until the worker's next status comes.
        """
        if retained and worker in self._differences:
            return
        if worker in self._differences or len(self._differences) < MAX_WORKERS:
            self._differences[worker] = self._clock() - sent_at.timestamp()

    def lateness(self, worker: str, answered_at: datetime) -> float:
        """Seconds that an answer was on its way; 0 where nothing tells, or no more than usual."""
        known = self._differences.get(worker)
        late = 0.0 if known is None else self._clock() - answered_at.timestamp() - known
        return late if late > JITTER_SECONDS else 0.0
