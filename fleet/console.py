"""Where the operator's commands write their tables."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from wire.printable import printable

#: What writing to a file may end with, for which nobody can do anything here.
_OF_FILES = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}


class PlainConsole(Console):
    """A console that prints a text as it is, whoever wrote it: no markup, no control characters.

    So labels, file names and all that came over MQTT can be printed as they are. Only a Text is left alone:
    what it is made of goes through `plain`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "highlight": False, "markup": False, "emoji": False})

    def render_str(self, text: str, **options: Any) -> Text:
        """A line to print, a table's cell or its heading."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def status(self, status: Any, **options: Any) -> Status:
        """A line beside a spinner, which rich reads as markup on every console."""
        return super().status(plain(status) if isinstance(status, str) else status, **options)


def plain(text: str, style: str = "") -> Text:
    """A text as it is, for where rich would read markup, or with a style."""
    return Text(printable(text), style)


def open_console() -> PlainConsole:
    """The terminal; in a pipe, wide lines that are not wrapped, because a table there is for grep."""
    return PlainConsole(soft_wrap=True, width=None if sys.stdout.isatty() else 400)


def has_reader() -> bool:
    """Whether our output is still read: `head` and `grep -q` exit when they have enough."""
    poll = select.poll()
    poll.register(1, 0)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def is_about_output(error: OSError) -> bool:
    """Whether an error is that of a file to which the output is sent, such as on a full disk."""
    mode = os.fstat(sys.stdout.fileno()).st_mode
    to_file = (stat.S_ISREG(mode) or stat.S_ISCHR(mode)) and not sys.stdout.isatty()
    return to_file and error.filename is None and error.errno in _OF_FILES


def leave_reader() -> None:
    """Send the rest of the output nowhere: nobody takes it, and Python's last flush must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
