"""Signals that ask a process to shut down: Ctrl-C, SIGTERM and the end of the terminal."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Collection, Iterator, List

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stop_signals(
    stop: threading.Event, always: Collection[int] = (), *, interrupts: bool = True
) -> Iterator[List[int]]:
    """Let the first signal set an event, and a second one raise KeyboardInterrupt; yields those that came.

    It sets an event, because an exception could come in the middle of anything, such as between writing a
    frame to disk and recording it.

    Args:
        stop: the event. The main thread may only look at it, and not wait for it: setting it in a handler
            while that thread begins to wait is a deadlock.
        always: signals to handle even where the parent has this process ignore them, as a shell does with
            Ctrl-C for its background jobs, and nohup with the end of the terminal.
        interrupts: whether a second signal raises; otherwise the caller looks at those that came.
    """
    came: List[int] = []

    def handle(signum: int, frame: object) -> None:
        came.append(signum)
        if interrupts and len(came) > 1:
            raise KeyboardInterrupt
        stop.set()

    ends = [each for each in ENDS if signal.getsignal(each) is not signal.SIG_IGN]
    heeded = sorted({*ends, *always})
    previous = [(signum, signal.signal(signum, handle)) for signum in heeded]
    try:
        yield came
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)


@contextlib.contextmanager
def blocked_in_children() -> Iterator[None]:
    """Block the signals that ask to shut down in a child that is started in the block.

    They reach the whole process group, and a parent that drains still needs the child. A process begins with
    its parent's mask, so that they never reach it. It has to exit by itself when its parent has.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
