"""A process of the supervisor's, which is started again when it dies."""

from __future__ import annotations

import time
from typing import Any, Dict, NamedTuple, Optional

from wire.errors import ConnectionRefused, DuplicateMember, NanofleetError, SettingsError
from worker.engines.child import how_it_ended
from worker.engines.shared.alarm import OPEN_TIMEOUT, STALLED
from worker.processes.forked import Forked, Work

#: Seconds until a process that has died is started again: twice as many each time it dies soon.
FIRST_DELAY, LONGEST_DELAY = 0.25, 30.0
#: Seconds after which a process that dies has not died soon.
SOON = 60.0
_ERRORS = {each.exit_code: each for each in (SettingsError, ConnectionRefused, DuplicateMember)}


class End(NamedTuple):
    """How a process has ended."""

    code: int
    report: Dict[str, Any]

    @property
    def error(self) -> Optional[NanofleetError]:
        """The error that it has ended with, if it has named one."""
        if "error" not in self.report:
            return None
        return _ERRORS.get(self.code, NanofleetError)(self.report["error"])

    @property
    def left(self) -> bool:
        """Whether it has ended in good order, because it was to."""
        return "left" in self.report

    @property
    def text(self) -> str:
        """How, in words."""
        if self.code == -STALLED:
            return f"a batch took longer than --stall-timeout, or a model longer than {OPEN_TIMEOUT:g} s"
        return str(self.error or how_it_ended(self.code))


class Member:
    """One process, and those that follow it.

    Attributes:
        process: the one that runs, if one does.
        due: when the next one is to be started, by the monotonic clock, if one is.
        work: what the next one does.
    """

    def __init__(self, name: str, work: Work) -> None:
        """Prepare.

        Args:
            name: what logs call it.
            work: what the process does.
        """
        self.name = name
        self.process: Optional[Forked] = None
        self.due: Optional[float] = None
        self.work = work
        self._began = 0.0
        self._deaths = 0

    @property
    def is_gone(self) -> bool:
        """Whether there is no process, and none will be."""
        return self.process is None and self.due is None

    def start(self) -> None:
        """Start a process."""
        self.due, self._began = None, time.monotonic()
        self.process = Forked(self.name, self.work)

    def start_if_due(self) -> None:
        """Start a process that has waited for it."""
        if self.due is not None and time.monotonic() >= self.due:
            self.start()

    def start_later(self) -> float:
        """Start a process in a while; returns the seconds."""
        if time.monotonic() - self._began > SOON:
            self._deaths = 0
        seconds: float = min(FIRST_DELAY * 2**self._deaths, LONGEST_DELAY)
        self._deaths += 1
        self.due = time.monotonic() + seconds
        return seconds

    def ended(self) -> Optional[End]:
        """How the process has ended, once; None while it runs, or there is none."""
        if self.process is None:
            return None
        code = self.process.exit_code()
        if code is None:
            return None
        end = End(code, self.process.reported())
        self.process.close()
        self.process = None
        return end

    def send_signal(self, signum: int) -> None:
        """Send the process a signal, if it runs."""
        if self.process is not None:
            self.process.send_signal(signum)
