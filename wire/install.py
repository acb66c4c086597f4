"""How to install what a command lacks."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """What to do for the modules of one of nanofleet's extras, which is on no package index."""
    return f"in a clone of nanofleet's repository, pip install '.[{extra}]'"
