"""Times of capture, as senders write them."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.payload.moment import read_moment

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-01T12:00:00Z",
        "2026-05-01t12:00:00z",
        "2026-05-01T12:00Z",
        "2026-05-01T12:00:00+00",
        "2026-05-01T12:00:00+0000",
        "2026-05-01T12:00:00-00:00",
        "2026-05-01T14:00:00+02:00",
        "2026-05-01T05:30:00-0630",
        "2026-05-01 12:00:00 UTC",
        "2026-05-01 12:00:00 +0000 UTC",
        "2026-05-01 14:00:00 +0200 CEST",
        "2026-05-01T14:00:00+02:00[Europe/Berlin]",
        "2026-05-01T12:00:00.000000000Z",
        "2026-05-01T12:00:00,000Z",
        " 2026-05-01T12:00:00Z\n",
        '"2026-05-01T12:00:00Z"',
        "20260501T120000Z",
        "20260501T140000+0200",
        "2026:05:01 14:00:00+02:00",
        "Fri, 01 May 2026 12:00:00 GMT",
        "Fri, 1 May 2026 14:00:00 +0200",
        "Fri, 1 May 2026 14:00:00 +0200 (CEST)",
        "1 May 2026 12:00 GMT",
        "Fri May  1 12:00:00 UTC 2026",
        "Fri May 01 2026 14:00:00 GMT+0200 (Central European Summer Time)",
        1777636800,
        1777636800.0,
        1777636800000,
        1777636800000000,
        1777636800000000000,
        1.7776368e18,
        "1777636800",
        "1777636800.000",
        "1777636800000",
        "1777636800000000",
        "1777636800000000000",
    ],
)
def test_a_moment(value: Any) -> None:
    assert read_moment(value) == (NOON, False)


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-01T12:00:00",
        "2026-05-01 12:00:00",
        "2026-05-01 12:00",
        "2026-05-01, 12:00:00",
        "2026:05:01 12:00:00",
        "2026/05/01 12:00:00",
        "20260501T120000",
        "20260501120000",
        20260501120000,
        "Fri, 01 May 2026 12:00:00",
        "Fri May  1 12:00:00 2026",
    ],
)
def test_without_a_zone_utc_is_assumed(value: Any) -> None:
    assert read_moment(value) == (NOON, True)


@pytest.mark.parametrize(
    ("value", "microsecond"),
    [
        ("2026-05-01T12:00:00.123456789Z", 123456),
        ("2026-05-01T12:00:00.5Z", 500000),
        ("1777636800.25", 250000),
        (1777636800.25, 250000),
        (1777636800123, 123000),
        (1777636800123456789, 123456),
        ("1777636800123.5", 123500),
    ],
)
def test_fractions_of_a_second(value: Any, microsecond: int) -> None:
    assert read_moment(value).time == NOON.replace(microsecond=microsecond)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "yesterday", "now", "12:00:00", "2026-05-01", "01/05/2026 12:00:00",),
        *("5/1/2026, 12:00:00 PM", "10000-01-01T00:00:00Z"),
        *("0000:00:00 00:00:00", "2026-02-31T00:00:00Z", "2026-05-01T25:00:00Z", "2026-05-01T12:00:00+24:00"),
        *("2026-05-01T12:00:00 CET", "Fri, 01 May 2026 12:00:00 CET", "2026-05-01 12:00:00 PM"),
        *("1 Mai 2026 12:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
        *("\uff12\uff10\uff12\uff16-05-01T12:00:00Z", "2" * 100_000),
        *("9" * 50, "-1777636800", "1e9", "0x69f4", "\ud83d"),
        *(0, 17, -1, 123456.789, 10**400, -(10**400), float("nan"), float("inf"), -float("inf"), 1e308),
        *(True, False, None, [], [2026, 5, 1, 12, 0], {}, {"$date": 1777636800000}),
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        read_moment(value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 100


@given(
    st.one_of(st.text(), st.floats(), st.integers(), st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d"))
)
def test_any_value_is_a_moment_or_a_value_error(value: Any) -> None:
    with contextlib.suppress(ValueError):
        assert read_moment(value).time.tzinfo is timezone.utc


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-1439, 1439))
def test_iso_format_comes_back(moment: datetime, offset: int) -> None:
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert read_moment(moment.isoformat()) == (moment, False)
