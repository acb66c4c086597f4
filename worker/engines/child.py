"""A process that exports or tries a model, as its user has it: started, its log relayed, and ended.

The child has a session of its own, so that Ctrl-C goes to this process, which then ends it. It holds one end
of a pipe, and exits when the other end is closed, however this process ends. `worker.engines.child_process`
is the child's side.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from wire.errors import NanofleetError
from wire.printable import printable
from wire.settings import child_environment

_ROOT = Path(__file__).resolve().parents[2]
#: Seconds in which the child exits by itself.
LEAVE_TIMEOUT = 2.0
#: Signals by which a process ends itself, because of what it does.
CRASHES = {
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS),
    signal.SIGTRAP,
}


def run_child(
    module: str,
    arguments: Sequence[str],
    *,
    stop: Optional[threading.Event],
    seconds: float = float("inf"),
    environment: Mapping[str, str] = {},
) -> Dict[str, Any]:
    """Run a process to its end, and return its answer and its `exit_code`; without an answer, that alone.

    Args:
        module: its main, which calls `worker.engines.child_process.answer`.
        arguments: as that takes them.
        stop: set to end it early.
        seconds: how long it may take.
        environment: its variables beside this process's.

    Raises:
        NanofleetError: `stop` was set, or the system lets no process start.
        TimeoutError: it took longer, and is ended.
    """
    child, holds_it = _started([sys.executable, "-m", module, *arguments], environment)
    with child:
        try:
            reply = _relayed(child, stop, time.monotonic() + seconds)
            return {**reply, "exit_code": child.wait()}
        finally:
            os.close(holds_it)
            try:
                child.wait(LEAVE_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()


def _started(command: Sequence[str], environment: Mapping[str, str]) -> Tuple[subprocess.Popen[bytes], int]:
    """A process, and the end of the pipe that keeps it: it exits when that is closed.

    Raises:
        NanofleetError: the system lets no process start.
    """
    stdin, holds_it = os.pipe()
    try:
        child = subprocess.Popen(
            command,
            cwd=_ROOT,
            env={**child_environment(), **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except BaseException as error:
        os.close(holds_it)
        if isinstance(error, OSError):
            raise NanofleetError(f"a process for the model cannot start: {error}") from None
        raise
    finally:
        os.close(stdin)
    return child, holds_it


def how_it_ended(exit_code: int) -> str:
    """A process's end in words: it `crashed (SIGSEGV)`, `was killed (SIGKILL)`, `ended with exit code 1`."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    names = {each.value: each.name for each in signal.Signals}
    name = names.get(-exit_code, f"signal {-exit_code}")
    return f"crashed ({name})" if -exit_code in CRASHES else f"was killed ({name})"


def _relayed(
    child: subprocess.Popen[bytes], stop: Optional[threading.Event], deadline: float
) -> Dict[str, Any]:
    """Log what the process logs until it ends; returns the last line that is no log's."""
    assert child.stdout
    reply: Dict[str, Any] = {}
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if stop is not None and stop.is_set():
                raise NanofleetError("shut down while the model was loaded")
            if time.monotonic() > deadline:
                raise TimeoutError
            if not selector.select(0.2):
                continue
            data = os.read(child.stdout.fileno(), 1 << 16)
            if not data:
                return reply
            *lines, rest = (rest + data).split(b"\n")
            for line in map(_read, lines):
                if "logger" in line:
                    logging.getLogger(line["logger"]).log(line["level"], line["message"])
                else:
                    reply = line


def _read(line: bytes) -> Dict[str, Any]:
    """A record of `worker.engines.child_process`; what a library printed at its import becomes a log's."""
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict):
            return record
    text = printable(line.decode(errors="replace"))
    return {"logger": __name__, "level": logging.INFO, "message": text}


class _Signalled(BaseException):
    """A signal would end this process."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextlib.contextmanager
def cleaning_up_first() -> Iterator[None]:
    """Let signals that would end the process on the spot end the block first, which cleans up after itself.

    Raises:
        KeyboardInterrupt: that was Ctrl-C.
    """
    signalled = False

    def end_block(signum: int, frame: object) -> None:
        nonlocal signalled
        if not signalled:  # another must not disturb the cleaning up, which is short
            signalled = True
            raise _Signalled(signum)

    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    in_main_thread = threading.current_thread() is threading.main_thread()
    deadly = [each for each in ends if in_main_thread and signal.getsignal(each) is signal.SIG_DFL]
    for signum in deadly:
        signal.signal(signum, end_block)
    try:
        yield
    except _Signalled as reason:
        if reason.signum == signal.SIGINT:
            raise KeyboardInterrupt from None
        signal.signal(reason.signum, signal.SIG_DFL)
        signal.raise_signal(reason.signum)
    finally:
        for signum in deadly:
            signal.signal(signum, signal.SIG_DFL)
