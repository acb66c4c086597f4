"""The metadata beside a picture: its id, and when it was captured and sent.

Neither costs the picture: one that cannot be used is dropped, and a note says so.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar

from wire.messages import FRAME_ID
from worker.payload.contents import shown
from worker.payload.moment import Moment, read_moment

T = TypeVar("T")

#: The fields, as they are called in JSON and in metrics.
FIELDS = ("frame_id", "captured_at", "sent_at")

_IS_FRAME_ID = re.compile(FRAME_ID)


class Metadata(NamedTuple):
    """The metadata that could be used.

    Attributes:
        frame_id: None if none came that can be.
        captured_at: in UTC; None likewise.
        notes: what was dropped or assumed, in sentences fit for a Result.
        dropped: the fields that were dropped, each as often.
        sent_at: by the clock of `captured_at`; None likewise.
    """

    frame_id: Optional[str]
    captured_at: Optional[datetime]
    notes: Tuple[str, ...]
    dropped: Tuple[str, ...]
    sent_at: Optional[datetime]


class _Reader:
    """Takes the first of several values that can be used, and notes those before it."""

    def __init__(self) -> None:
        self.notes: List[str] = []
        self.dropped: List[str] = []

    def first(
        self, field: str, given: Sequence[Tuple[str, Any]], read: Callable[[Any], T]
    ) -> Tuple[str, Optional[T]]:
        """The first that can be used, with its name; None if none can."""
        for name, value in given:
            try:
                return name, read(value)
            except ValueError as error:
                self.notes.append(f"{name}: dropped {shown(value)}: {error}")
                self.dropped.append(field)
        return field, None


def read_metadata(objects: Sequence[Mapping[str, Any]], properties: Mapping[str, str]) -> Metadata:
    """Read what stands beside a picture.

    Args:
        objects: JSON objects around it, the nearest first; they go before the properties.
        properties: the message's MQTT user properties.
    """
    reader = _Reader()
    _, frame_id = reader.first("frame_id", _given("frame_id", objects, properties), _frame_id)
    captured_at = _time(reader, "captured_at", objects, properties)
    sent_at = _time(reader, "sent_at", objects, properties)
    return Metadata(frame_id, captured_at, tuple(reader.notes), tuple(reader.dropped), sent_at)


def _time(
    reader: _Reader, field: str, objects: Sequence[Mapping[str, Any]], properties: Mapping[str, str]
) -> Optional[datetime]:
    name, moment = reader.first(field, _given(field, objects, properties), read_moment)
    if isinstance(moment, Moment) and moment.zone_assumed:
        reader.notes.append(f"{name}: no time zone: UTC assumed")
    return moment.time if moment else None


def _given(
    field: str, objects: Sequence[Mapping[str, Any]], properties: Mapping[str, str]
) -> List[Tuple[str, Any]]:
    """The values that came for a field, each with its name; JSON's null is none."""
    values = [(field, each[field]) for each in objects if each.get(field) is not None]
    as_property = field.replace("_", "-")
    if as_property in properties:
        values.append((as_property, properties[as_property]))
    return values


def _frame_id(value: Any) -> str:
    """A frame's id from a text or a number.

    Raises:
        ValueError: it is neither, or no id.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("neither a text nor a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("no number")
    text = str(value) if not isinstance(value, int) or abs(value) < 10**128 else ""
    if not _IS_FRAME_ID.fullmatch(text):
        raise ValueError("not 1 to 128 visible ASCII characters")
    return text
