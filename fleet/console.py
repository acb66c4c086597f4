"""Where the operator's commands write their tables."""

from __future__ import annotations

import sys

from rich.console import Console


def open_console() -> Console:
    """The terminal; in a pipe, wide lines that are not wrapped, because a table there is for grep."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
