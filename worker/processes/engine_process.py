"""The engine process, as the supervisor sees it: one that is stuck is ended, so that the next one goes on."""

from __future__ import annotations

import logging
import math
import signal
import time
from pathlib import Path

from worker.awake import Awake
from worker.engines.shared.alarm import OPEN_TIMEOUT, STALLED
from worker.engines.shared.channel import Rendezvous
from worker.engines.shared.pulse import Pulse
from worker.processes.member import Member
from worker.processes.roles import engine_process
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Seconds after which a batch's limit of time, which says more, would have ended it.
_GRACE = 2.0


class EngineProcess(Member):
    """The engine process, and its pulse."""

    def __init__(self, settings: WorkerSettings, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous
        self._stall_timeout = settings.stall_timeout
        self._pulse = Pulse()
        self._awake = Awake()
        #: When the process was last seen not to be stopped.
        self._seen_running = time.monotonic()
        super().__init__("engine process", engine_process(settings, rendezvous, self._pulse))

    def settle(self, settings: WorkerSettings) -> None:
        """Have the next ones run by these settings."""
        self.work = engine_process(settings, self._rendezvous, self._pulse)

    def start(self) -> None:
        """Start a process, whose pulse begins when it can serve."""
        self._pulse.promise(OPEN_TIMEOUT)
        self._pulse.end_by(math.inf)
        self._seen_running = time.monotonic()
        super().start()

    def end_if_stuck(self) -> None:
        """End the process if it has no pulse any more, or takes too long for what it does."""
        # What both were stopped for does not count.
        most = self._awake.look() - self._stall_timeout
        if self.process is None:
            return
        # While it opens a model, a process may do without a pulse for an hour, but not stopped.
        if not _is_stopped(self.process.pid):
            self._seen_running = time.monotonic()
        late = max(self._pulse.late, time.monotonic() - self._seen_running - self._stall_timeout)
        if min(late, most) > _GRACE:
            about = (self.name, self._stall_timeout)
            log.error("%s: no sign of life for %g s (--stall-timeout); ending it", *about)
            self.send_signal(signal.SIGKILL)
            self._pulse.promise(OPEN_TIMEOUT)  # it takes a moment to end
            self._seen_running = time.monotonic()
        elif min(self._pulse.overdue, most) > 0:
            self.send_signal(STALLED)


def _is_stopped(pid: int) -> bool:
    """Whether a process was stopped, as by SIGSTOP."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # it has just ended
        return False
    return state.rpartition(b")")[2].split()[0] == b"T"
