"""Why there is no picture."""

from __future__ import annotations


class Undecodable(Exception):
    """No pixels can be had from a payload.

    Attributes:
        reason: the value of a `wire.messages.Reason`.
        detail: one short line of ASCII.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
