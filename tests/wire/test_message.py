"""What is common to all messages: which values they take, and how they are written."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.wire.test_messages import RESULT, STATUS, changed
from wire.errors import DecodeError
from wire.messages import (
    Candidate,
    Result,
    WorkerStatus,
    utc_now,
)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    for changes in (
        {"confidence": number},
        {"timings_ms": f'{{"total": {number}}}'},
        {"top": f'[{{"label": "a", "index": 0, "confidence": {number}}}]'},
        {"width": number},
    ):
        with pytest.raises(DecodeError):
            Result.decode(changed(RESULT, **changes))
    with pytest.raises(DecodeError):
        WorkerStatus.decode(changed(STATUS, frames_per_second=number))


def test_numbers_out_of_range_are_refused() -> None:
    for changes in ({"index": "9" * 5000}, {"index": "-1"}, {"confidence": "1.01"}, {"batch_size": "0"}):
        with pytest.raises(DecodeError):
            Result.decode(changed(RESULT, **changes))


def test_the_input_is_not_in_the_error() -> None:
    with pytest.raises(DecodeError) as caught:
        Result.decode(changed(RESULT, index='"s3cret"', confidence='"s3cret"'))
    assert "s3cret" not in str(caught.value)
    assert "index" in str(caught.value)
    assert "confidence" in str(caught.value)


def test_a_message_is_frozen() -> None:
    result = Result.decode(json.dumps(RESULT).encode())
    with pytest.raises(ValidationError):
        result.label = "latte"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given_time", "written"),
    [
        ("2026-11-24T04:05:06Z", "2026-11-24T04:05:06Z"),
        ("2026-11-24T04:05:06+02:00", "2026-11-24T02:05:06Z"),
        ("2026-11-24T04:05:06.5-05:30", "2026-11-24T09:35:06.500000Z"),
    ],
)
def test_times_are_written_in_utc(given_time: str, written: str) -> None:
    result = Result.decode(changed(RESULT, captured_at=f'"{given_time}"'))
    assert json.loads(result.encode())["captured_at"] == written


@pytest.mark.parametrize(
    "wrong", ["2026-11-24T04:05:06", "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_times_that_name_no_moment_are_refused(wrong: str) -> None:
    with pytest.raises(DecodeError, match="captured_at"):
        Result.decode(changed(RESULT, captured_at=f'"{wrong}"'))


def test_now_is_utc() -> None:
    assert utc_now().tzinfo is timezone.utc


moments = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(2200, 1, 1),
    timezones=st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
        lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
    ),
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)  # lone surrogates are no UTF-8
share = st.floats(0, 1)


@given(
    frame_id=text,
    label=text,
    candidates=st.lists(
        st.builds(Candidate, label=text, index=st.integers(0, 10**6), confidence=share), max_size=20
    ),
    confidence=share,
    moment=moments,
    timings=st.dictionaries(text, st.floats(allow_nan=False, allow_infinity=False), max_size=20),
)
def test_a_result_survives_the_wire(
    frame_id: str, label: str, candidates: Any, confidence: float, moment: datetime, timings: Dict[str, float]
) -> None:
    result = Result(
        frame_id=frame_id,
        camera="door",
        worker="w1",
        model="m",
        weights="w",
        label=label,
        index=0,
        confidence=confidence,
        top=tuple(candidates),
        width=1,
        height=1,
        captured_at=moment,
        received_at=moment,
        answered_at=moment,
        timings_ms=timings,
        batch_size=1,
    )
    payload = result.encode()
    assert Result.decode(payload) == result
    assert json.loads(payload)["received_at"].endswith("Z")


@given(st.binary())
def test_any_bytes_are_a_message_or_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        WorkerStatus.decode(payload)
