"""Where the operator's commands write their tables."""

from __future__ import annotations

import os
import select
import sys

from rich.console import Console


def open_console() -> Console:
    """The terminal; in a pipe, wide lines that are not wrapped, because a table there is for grep."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 400)


def has_reader() -> bool:
    """Whether anybody still reads our output: `head` and `grep -q` leave when they have seen enough."""
    poll = select.poll()
    poll.register(1, 0)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def leave_reader() -> None:
    """Say nothing more to a reader that has left; Python must not complain of it when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
