"""Signals that tell a process to leave: Ctrl-C, SIGTERM and the end of the terminal."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Collection, Iterator, List

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stop_signals(stop: threading.Event, always: Collection[int] = ()) -> Iterator[List[int]]:
    """Let the first signal set an event, and a second one raise KeyboardInterrupt; yields those that came.

    An event, because an exception could come in the middle of anything, as between a frame's way to the disk
    and the note that it is there.

    Args:
        stop: the event. Nobody may wait for it, but only look: one that is set while its own thread begins to
            wait stands still.
        always: signals to heed even where whoever started this process has it ignore them, as a shell does
            with Ctrl-C for its background jobs, and nohup with the end of the terminal.
    """
    came: List[int] = []

    def handle(signum: int, frame: object) -> None:
        came.append(signum)
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    heeded = [each for each in ENDS if each in always or signal.getsignal(each) is not signal.SIG_IGN]
    previous = [(signum, signal.signal(signum, handle)) for signum in heeded]
    try:
        yield came
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)


@contextlib.contextmanager
def blocked_in_children() -> Iterator[None]:
    """Let a child that is started in the block heed no signal that tells to leave.

    Those reach the whole process group, and a parent that drains needs the child for that. A process begins
    with its parent's mask, so that there is no moment in which it can be hit. It has to end with its parent.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
