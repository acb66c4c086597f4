"""How members choose one of themselves without a coordinator: each ranks all of them alike."""

from __future__ import annotations

import hashlib


def weight(member: str, about: str) -> bytes:
    """A member's weight in the choice about something; the highest is chosen.

    Highest random weight hashing: the choices of a large fleet are spread evenly over its members.
    """
    return hashlib.blake2b(f"{member}/{about}".encode(), digest_size=8).digest()
