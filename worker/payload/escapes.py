"""The escapes of a URL: %41 for A."""

from __future__ import annotations

import re
from typing import Match

#: The repetition is bounded because the engine keeps a state for each.
_PERCENT_ENCODED = re.compile(rb"(?:%[0-9A-Fa-f]{2}){1,1000}")
_SLICE = 1 << 16


def percent_decoded(text: bytes) -> bytes:
    """The text with each %41 as the byte it stands for; a % of another kind stays."""
    if b"%" not in text:
        return text
    decoded, at = bytearray(), 0
    while at < len(text):  # slice by slice, because the engine keeps all that it has found until the end
        end = at + _SLICE
        cut_through = text.rfind(b"%", end - 2, end)
        end = end if cut_through < 0 else cut_through
        decoded += _PERCENT_ENCODED.sub(_decoded_run, text[at:end])
        at = end
    return bytes(decoded)


def _decoded_run(run: Match[bytes]) -> bytes:
    return bytes.fromhex(run.group().replace(b"%", b"").decode())
