"""What the threads of a nanofleet worker cost, those of its observer apart.

python -m bench.threads worker --broker …      a worker whose threads tell the kernel their names

/proc/PID/task/TID/stat        a thread's name, and its CPU time
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Dict, Iterator

from fleet.cli import main

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_NAME = 15
_LIBC = ctypes.CDLL(None)
#: The observer's thread in a worker; its connections' threads, which it starts, get the same name.
OBSERVER = "observer"


def name_them() -> None:
    """Give every thread that starts from now on its name in /proc: Python does so from 3.14 on only."""
    start, run = threading.Thread.start, threading.Thread.run
    observers = set()

    def start_named(self: threading.Thread) -> None:
        if OBSERVER in (self.name, threading.current_thread().name):
            observers.add(self)
        start(self)

    def run_named(self: threading.Thread) -> None:
        name = OBSERVER if self in observers else self.name
        _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
        run(self)

    threading.Thread.start = start_named  # type: ignore[method-assign]
    threading.Thread.run = run_named  # type: ignore[method-assign]


def cpu_by_thread(pid: int) -> Dict[str, float]:
    """CPU seconds of a process's threads so far, those of one name added up."""
    spent: Dict[str, float] = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            before, _, after = (thread / "stat").read_text(encoding="utf-8").rpartition(")")
            # In proc(5): utime and stime are fields 14 and 15; these begin with field 3.
            name, seconds = before.partition("(")[2], sum(map(int, after.split()[11:13])) / _TICKS
            spent[name] = spent.get(name, 0.0) + seconds
    return spent


@contextlib.contextmanager
def spent_by_thread(pid: int) -> Iterator[Dict[str, float]]:
    """The CPU seconds of a process's threads, by name, while the block lasts: filled in at its end."""
    spent: Dict[str, float] = {}
    before = cpu_by_thread(pid)
    yield spent
    spent.update({name: seconds - before.get(name, 0.0) for name, seconds in cpu_by_thread(pid).items()})


if __name__ == "__main__":
    name_them()
    sys.exit(main(sys.argv[1:]))
