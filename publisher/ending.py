"""Signals that end a run: Ctrl-C, SIGTERM and the end of the terminal are one thing."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType
from typing import Iterator, List, Optional


class Stopped(Exception):
    """The run is to end before all is done."""


@contextlib.contextmanager
def stop_signals(stop: threading.Event) -> Iterator[List[int]]:
    """Let the first signal set an event, and a second one raise KeyboardInterrupt; yields those that came.

    An event, because an exception could come between a frame's way to the disk and the note that it is there.
    Nobody may wait for it, but only look: one that is set while its own thread begins to wait stands still.
    """
    came: List[int] = []

    def handle(signum: int, frame: Optional[FrameType]) -> None:
        came.append(signum)
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A shell has its background jobs ignore Ctrl-C, and nohup the end of the terminal.
    heeded = [signum for signum in signals if signal.getsignal(signum) is not signal.SIG_IGN]
    previous = [(signum, signal.signal(signum, handle)) for signum in heeded]
    try:
        yield came
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)


def exit_code(signum: int) -> int:
    """What a process ends with that a signal has ended, as a shell tells it."""
    return 128 + signum
