"""Text from strangers, made fit for a terminal and a log.

All that shows what others wrote goes through here: labels and file names as well as what comes over MQTT.
"""

from __future__ import annotations

import re
import sys
from typing import Optional, TextIO

#: What a terminal obeys instead of showing it: colours, moves of the cursor, titles and links.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
)


def printable(text: str) -> str:
    """Escape what is not to be seen: control characters, which a terminal obeys, and marks that turn text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """The same of a text that has several lines by right."""
    return "\n".join(map(printable, text.split("\n")))


def plain(text: str) -> str:
    """A library's text without control sequences: they are for a terminal, not for a log or a status."""
    return _SEQUENCE.sub("", text)


def first_line(said: object) -> str:
    """What a library's exception or warning says, in one line without control sequences; it may be empty."""
    lines = plain(str(said)).strip().splitlines() or [""]
    return printable(lines[0])


def show(line: str, file: Optional[TextIO] = None) -> None:
    """Print a line at once, to stdout where nothing else is said."""
    print(printable(line), file=file or sys.stdout, flush=True)


def cut(text: str, length: int) -> str:
    """The text, or what of it fits into so many characters, with a mark that there was more."""
    return text if len(text) <= length else text[: length - 1] + "…"
