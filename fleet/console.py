"""Where the operator's commands write their tables."""

from __future__ import annotations

import select
import sys
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from wire.printable import printable


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
