"""A time of capture, in the forms in which senders write one.

2026-05-01T12:00:00+02:00   RFC 3339; with a space, a comma, +02, +0200, UTC, or without a zone
20260501T120000Z            ISO 8601's basic format
2026:05:01 12:00:00         EXIF
Fri, 01 May 2026 12:00:00 GMT      RFC 2822 and HTTP; also C's asctime and JavaScript's toString
1777636800(.5)              seconds since 1970; or milli-, micro- or nanoseconds
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple, Optional, Tuple, Union

#: Characters of a time, at most.
_LONGEST = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: The seconds of 2001 to 2099: a number of other years, in whatever unit, counts something else, such as
#: uptime.
_FIRST, _LAST = 10**9, 41 * 10**8
_UNITS = (1, 10**3, 10**6, 10**9)

_ZONE = r"(?P<zone>Z|UTC|UT|GMT|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?)"
#: A zone may be named behind its offset, as Java and Go do it; a name alone is ambiguous.
_ZONED = rf"(?: *{_ZONE}(?: [A-Z]{{3,5}}|\[[\w/+-]{{1,40}}\])?)?"
_CLOCK = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
_FLAGS = re.ASCII | re.IGNORECASE
_FORMS = tuple(
    re.compile(form, _FLAGS)
    for form in (
        rf"(?P<year>\d{{4}})(?P<s>[-:/.])(?P<month>\d\d?)(?P=s)(?P<day>\d\d?)(?:[T_]|,? +){_CLOCK}{_ZONED}",
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)[T_ ]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
        rf"(?:[.,](?P<fraction>\d{{1,9}}))?{_ZONED}",
        rf"(?:[A-Z]{{3,9}},? +)?(?P<day>\d\d?)[ -](?P<name>[A-Z]{{3}})[ -](?P<year>\d{{4}}) +{_CLOCK}"
        rf"(?: *{_ZONE})?(?: *\([^()]*\))?",
        rf"[A-Z]{{3}} +(?P<name>[A-Z]{{3}}) +(?P<day>\d\d?) +{_CLOCK}(?: +{_ZONE})? +(?P<year>\d{{4}})",
        rf"[A-Z]{{3}} +(?P<name>[A-Z]{{3}}) +(?P<day>\d\d?) +(?P<year>\d{{4}}) +{_CLOCK}"
        rf"(?: *{_ZONE})?(?: *\([^()]*\))?",
    )
)
_NUMBER = re.compile(r"(\d{1,25})(?:\.(\d{1,9})\d*)?", re.ASCII)
_PARTS = ("year", "month", "day", "hour", "minute")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Moment(NamedTuple):
    """A time in UTC, and whether that it is UTC was assumed, because nothing named its zone."""

    time: datetime
    zone_assumed: bool


def read_moment(value: object) -> Moment:
    """Read a time of capture.

    Args:
        value: a text or a number.

    Raises:
        ValueError: it is no time, or not one moment of it.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("neither a text nor a number")
    if not isinstance(value, str):
        value = _as_text(value)
    text = value.strip(" \t\r\n\0\"'")
    if len(text) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    number = _NUMBER.fullmatch(text)
    moment = _since_epoch(number[1], number[2] or "") if number else None
    return Moment(moment, False) if moment is not None else _from_calendar(text)


def _as_text(number: Union[int, float]) -> str:
    if not 0 <= number < 10**20:  # also where it is none
        raise ValueError("a number that is no time")
    return str(number) if isinstance(number, int) else f"{number:.6f}"


def _since_epoch(whole: str, fraction: str) -> Optional[datetime]:
    """The moment, if the number is of this century in one of the units."""
    for unit in _UNITS:
        if _FIRST * unit <= int(whole) < _LAST * unit:
            nanoseconds = (int(whole) * 10**9 + int(fraction.ljust(9, "0"))) // unit
            return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return None


def _from_calendar(text: str) -> Moment:
    match = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    if match is None:
        raise ValueError("no time in a form that is known")
    found = match.groupdict()
    if "name" in found:
        name = found["name"].lower()
        if name not in _MONTHS:
            raise ValueError("no month of that name")
        found["month"] = str(_MONTHS.index(name) + 1)
    offset, zone_assumed = _offset(found["zone"])
    year, month, day, hour, minute = (int(found[part]) for part in _PARTS)
    second = min(int(found["second"] or 0), 59)  # a leap second is none of Python's
    microsecond = int((found["fraction"] or "0").ljust(6, "0")[:6])
    local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=timezone.utc)
    try:
        return Moment(local - offset, zone_assumed)
    except OverflowError:
        raise ValueError("not within the years 1 to 9999 of UTC") from None


def _offset(zone: Optional[str]) -> Tuple[timedelta, bool]:
    """How far a zone is ahead of UTC; and whether that was assumed."""
    if zone is None:
        return timedelta(0), True
    digits = re.sub(r"[^+\-\d]", "", zone)
    if not digits:
        return timedelta(0), False
    hours, minutes = int(digits[1:3]), int(digits[3:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("no zone is so far from UTC")
    return timedelta(hours=hours, minutes=minutes) * (-1 if digits[0] == "-" else 1), False
