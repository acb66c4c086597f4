"""How long this process has run without having been stopped: nothing is late for what passed meanwhile.

Ctrl-Z, `docker pause` and `systemctl freeze` stop all processes of a worker alike.
"""

from __future__ import annotations

import time

#: Seconds between two looks after which this process was stopped.
STOPPED = 5.0


class Awake:
    """For a process that looks every second or so."""

    def __init__(self) -> None:
        self._since = self._looked = time.monotonic()

    def look(self) -> float:
        """Seconds since this process began to run without being stopped."""
        looked, self._looked = self._looked, time.monotonic()
        if self._looked - looked > STOPPED:
            self._since = self._looked
        return self._looked - self._since
