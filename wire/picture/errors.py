"""Why there is no picture."""

from __future__ import annotations

#: Why decoding gives no picture.
REASONS = frozenset({"empty", "not_an_image", "corrupt_image", "image_too_large", "decoder_crashed"})


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
