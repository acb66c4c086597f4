"""The child's end of `worker.engines.child`: one piece of work, and its answer.

stdout  a JSON object a line: what it logs, and at last the answer, or the error and its kind
stdin   carries nothing; it is closed when the process has to exit: by its parent, or by the parent's death
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, NoReturn, TextIO

from wire.errors import NanofleetError, SettingsError
from wire.printable import plain

#: Seconds in which it must have exited: code of PyTorch's may hold it up.
LEAVE_TIMEOUT = 1.0


def answer(folder: str, level: str, work: Callable[[], Dict[str, Any]]) -> NoReturn:
    """Do the work, send the parent its result, and exit.

    Args:
        folder: the working directory of its user, from which messages name files.
        level: the lowest level that the parent logs.
        work: what to do; its NanofleetError is an answer as well.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _leave)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    os.chdir(folder)  # its modules were found from where it was started
    # Output of PyTorch's must not end up in the answer.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(10)  # a worker may be serving meanwhile
    _let_the_kernel_take_this_first()
    with pipe:
        logging.basicConfig(level=level, format="%(message)s", handlers=[_ToParent(pipe)])
        try:
            reply = work()
        except NanofleetError as error:
            kind = "settings" if isinstance(error, SettingsError) else "other"
            reply = {"kind": kind, "error": str(error)}
        _write(pipe, reply)
    # At once: an interpreter with PyTorch in it takes seconds to end in good order, and gains nothing by it.
    os._exit(0)


def _let_the_kernel_take_this_first() -> None:
    """Where memory runs out, the kernel is to kill this process, and not the worker beside it."""
    with contextlib.suppress(OSError):  # no Linux
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _write(pipe: TextIO, line: Dict[str, Any]) -> None:
    pipe.write(json.dumps(line) + "\n")
    pipe.flush()


class _ToParent(logging.Handler):
    """Has the parent log what this process logs, in the form that it logs in."""

    def __init__(self, pipe: TextIO) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        line = {"logger": record.name, "level": record.levelno, "message": plain(self.format(record))}
        _write(self._pipe, line)


def _leave(signum: int, frame: object) -> None:
    """Exit without output, but let a download remove what it has so far."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.exit(1)


def _leave_with_the_parent() -> None:
    os.read(0, 1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(LEAVE_TIMEOUT)
    os._exit(1)
