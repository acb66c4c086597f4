"""Text from strangers, made fit for a terminal and a log."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what is not to be seen: control characters, which a terminal obeys, and marks that turn text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
