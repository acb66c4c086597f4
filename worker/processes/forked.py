"""A forked process: it reports to its parent, and never outlives it.

Its parent must have no threads of Python's: a fork has only the one that forks, and the locks of all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any, Callable, Collection, Dict, NoReturn, Optional

from wire.signals import blocked_in_children

#: Sends a parent what it is to know of its child.
Report = Callable[..., None]
#: What a process does; returns its exit code.
Work = Callable[[Report], int]

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
#: Bytes of all reports of a process, at most: they wait in a pipe.
_LONGEST = 1 << 16


class Forked:
    """A process that has been forked, as its parent sees it."""

    def __init__(self, name: str, work: Work) -> None:
        """Fork it.

        Signals that end its parent do not reach it: it may have to finish what its parent ends later.

        Args:
            name: what `ps` and `top` show.
            work: what it does.
        """
        parent = os.getpid()
        self._reports, reports = os.pipe()
        os.set_blocking(self._reports, False)
        with blocked_in_children():
            self.pid = os.fork()
            if not self.pid:
                _be_child(parent, name, work, reports)
        os.close(reports)
        self._content = b""
        self._code: Optional[int] = None

    def exit_code(self) -> Optional[int]:
        """Its exit code, or the negative number of the signal that has ended it; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self._code

    def reported(self) -> Dict[str, Any]:
        """All that it has reported so far, the last of a kind."""
        with contextlib.suppress(BlockingIOError):
            self._content += os.read(self._reports, _LONGEST)
        reports: Dict[str, Any] = {}
        for line in self._content.split(b"\n")[:-1]:
            reports.update(json.loads(line))
        return reports

    def send_signal(self, signum: int) -> None:
        """Send it a signal, if it still runs."""
        if self.exit_code() is None:
            os.kill(self.pid, signum)

    def close(self) -> None:
        """Let go of what it has reported; it has ended."""
        os.close(self._reports)


def reap_others(pids: Collection[int]) -> None:
    """Have the kernel forget children that have ended and are none of these.

    It gives a container's first process the orphans of all others, as the decoders of a front end that was
    killed.
    """
    with contextlib.suppress(ChildProcessError):  # there are none
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid in pids:
                return
            os.waitpid(found.si_pid, 0)


def _be_child(parent: int, name: str, work: Work, reports: int) -> NoReturn:
    """Do the work and end the process, without what a parent does at its end."""
    code = 1
    try:
        _die_with(parent, name)

        def report(**what: object) -> None:
            os.write(reports, json.dumps(what).encode() + b"\n")

        code = work(report)
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int, name: str) -> None:
    """Have the kernel end this process when its parent ends, however that does."""
    with contextlib.suppress(ImportError):  # a Python without ctypes
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), *(ctypes.c_ulong(0) for _ in range(3)))
        prctl(_PR_SET_NAME, name.encode()[:15], *(ctypes.c_ulong(0) for _ in range(3)))
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
