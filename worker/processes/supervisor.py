"""Starts the processes of a worker, starts those again that die, and ends them all.

engine process ready ──> front ends ──> all left, or one cannot go on ──> no engine process

What ends a process before any front end has served ends the worker, as it would end a worker of one process.
From then on it is that process's own affair, but for an error that would meet each. A front end whose id
another worker has taken is not started again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
import time
from typing import Any, Dict, List, Optional, Sequence

from wire.errors import ConnectionRefused, DuplicateMember, NanofleetError, SettingsError
from wire.private import keep_memory_private
from wire.signals import stop_signals
from wire.waiting import wait_until
from worker import service
from worker.engines.shared.channel import Rendezvous
from worker.processes import shares
from worker.processes.engine_process import EngineProcess
from worker.processes.forked import reap_others
from worker.processes.front_end import FrontEnd
from worker.processes.member import End, Member
from worker.processes.roles import LEAVE, LEAVE_AT_ONCE
from worker.settings import WorkerSettings
from worker.watchdog import notify

log = logging.getLogger(__name__)

_STEP_SECONDS = 0.05
#: Seconds in which front ends have left at once.
AT_ONCE_TIMEOUT = 5.0


def run(settings: WorkerSettings, beside: service.Beside = contextlib.nullcontext) -> int:
    """Run a worker of several processes until it leaves.

    Args:
        settings: the worker's, of which each front end gets its share.
        beside: what else runs in each front end, by its worker id.

    Returns:
        The exit code: 0 if all front ends left with nothing in hand.

    Raises:
        NanofleetError: the worker cannot start, or cannot go on.
        KeyboardInterrupt: a second signal came.
    """
    keep_memory_private()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or nobody learns how a process has ended
    shares.check(settings)
    leaving = threading.Event()
    with contextlib.ExitStack() as parts:
        named = parts.enter_context(shares.named(settings))
        came = parts.enter_context(stop_signals(leaving, always=service.HEEDED, interrupts=False))
        supervisor = Supervisor(named, beside, leaving, came)
        try:
            return supervisor.run()
        except KeyboardInterrupt:
            supervisor.hurry()
            raise
        finally:
            supervisor.close()


class Supervisor:
    """The processes of one worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        beside: service.Beside,
        leaving: threading.Event,
        signals: Sequence[int],
    ) -> None:
        """Prepare; `run` starts them.

        Args:
            settings: the worker's.
            beside: see `run`.
            leaving: set when they are to leave.
            signals: those that came and want that.
        """
        self._settings = settings
        self._beside = beside
        self._leaving = leaving
        self._signals = signals
        self._rendezvous = Rendezvous()
        self._engine = EngineProcess(settings, self._rendezvous)
        self._front_ends: List[FrontEnd] = []
        self._codes: List[int] = []
        self._error: Optional[NanofleetError] = None
        self._was_ready = self._is_up = self._has_asked = False

    def run(self) -> int:
        """See the function."""
        self._engine.start()
        facts = self._await_engine()
        if facts is None:
            return 0
        self._front_ends = [
            FrontEnd(
                shares.share_of(self._settings, number, facts["max_batch"], facts["on_cpu"]),
                self._rendezvous,
                self._beside,
            )
            for number in range(1, self._settings.processes + 1)
        ]
        for each in self._front_ends:
            each.start()
        while not all(each.is_gone for each in self._front_ends):
            self._step()
            time.sleep(_STEP_SECONDS)
        if self._error is not None:
            raise self._error
        return max(self._codes, default=0)

    def hurry(self) -> None:
        """Have the front ends leave at once; they have been asked to leave."""
        for each in self._front_ends:
            each.send_signal(LEAVE_AT_ONCE)
        wait_until(lambda: all(map(_has_ended, self._front_ends)), AT_ONCE_TIMEOUT)

    def close(self) -> None:
        """End what still runs."""
        for member in self._members:
            member.send_signal(signal.SIGKILL)
            wait_until(functools.partial(_has_ended, member), AT_ONCE_TIMEOUT, step=0.01)
        for each in self._front_ends:
            each.notices.close()
        self._rendezvous.close()

    @property
    def _members(self) -> List[Member]:
        return [*self._front_ends, self._engine]

    def _await_engine(self) -> Optional[Dict[str, Any]]:
        """What the engine process reports when it is ready; None if the worker is to leave before."""
        while not self._leaving.is_set():
            end = self._engine.ended()
            if end is not None:
                raise self._unstarted(self._engine, end)
            assert self._engine.process
            facts = self._engine.process.reported()
            if "max_batch" in facts:
                # The front ends keep to it, whatever suits the device that the next one finds.
                settled = self._settings.model_copy(update={"max_batch": facts["max_batch"]})
                self._engine.settle(settled)
                return facts
            time.sleep(_STEP_SECONDS)
        return None

    def _step(self) -> None:
        """Look after each process, once.

        Raises:
            KeyboardInterrupt: a second signal has come.
        """
        if self._has_asked and len(self._signals) > 1:
            raise KeyboardInterrupt
        reap_others({member.process.pid for member in self._members if member.process})
        self._relay_notices()
        self._engine.end_if_stuck()
        end = self._engine.ended()
        if end is not None:
            self._start_again(self._engine, end)
        self._engine.start_if_due()
        for each in self._front_ends:
            end = each.ended()
            if end is not None:
                self._decide(each, end)
            if self._leaving.is_set():
                each.due = None
            each.start_if_due()
        if self._leaving.is_set() and not self._has_asked:
            self._has_asked = True
            notify("STOPPING=1")
            for each in self._front_ends:
                each.send_signal(LEAVE)

    def _decide(self, which: FrontEnd, end: End) -> None:
        """What is to follow a front end that has ended."""
        if end.left and end.report["restarts"] and not self._leaving.is_set():
            which.start()
        elif end.left:
            self._codes.append(end.code)
        elif not self._leaving.is_set():
            self._start_again(which, end)
        elif end.code in (-LEAVE, -LEAVE_AT_ONCE):
            pass  # they have ended it on the spot, while it loaded
        elif end.text != str(self._error):  # which need not be said once more
            log.error("%s: %s", which.name, end.text)
            self._codes.append(1)

    def _start_again(self, member: Member, end: End) -> None:
        """Start a process again in a while; or end them all, or leave it, where that would be in vain."""
        meets_each = isinstance(end.error, (SettingsError, ConnectionRefused))
        if not self._leaving.is_set() and (meets_each or not self._was_ready):
            self._error = self._unstarted(member, end)
            self._leaving.set()
            return
        if isinstance(end.error, DuplicateMember):
            log.error("%s: %s; the others go on without it", member.name, end.text)
            self._codes.append(end.code)
            return
        seconds = member.start_later()
        log.error("%s: %s; starting it again in %g s", member.name, end.text, seconds)

    def _unstarted(self, member: Member, end: End) -> NanofleetError:
        return end.error or NanofleetError(f"{member.name} {end.text}; the log shows more")

    def _relay_notices(self) -> None:
        """Notify systemd of what all front ends notify."""
        for each in self._front_ends:
            each.read_notices()
        running = [each for each in self._front_ends if not each.is_gone]
        serving = [each for each in running if each.process and each.is_ready]
        self._was_ready = self._was_ready or bool(serving)
        # One that is started again is this process's affair, and not yet systemd's; so are all of them.
        if self._was_ready and running and all(each.is_alive for each in serving):
            for each in serving:
                each.is_alive = False
            notify("WATCHDOG=1")
        if not self._is_up and running and all(each.is_ready for each in running):
            self._is_up = True
            notify("READY=1")


def _has_ended(member: Member) -> bool:
    return member.process is None or member.process.exit_code() is not None
