"""What comes beside a picture: used, or dropped and noted."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.messages import Result, utc_now
from worker.payload.metadata import FIELDS, read_metadata

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "frame_id"),
    [
        ("f1", "f1"),
        (17, "17"),
        (0, "0"),
        (-1, "-1"),
        (17.5, "17.5"),
        (10**100, str(10**100)),
        ("x" * 128, "x" * 128),
    ],
)
def test_a_frame_id_may_be_a_number(value: Any, frame_id: str) -> None:
    assert read_metadata([{"frame_id": value}], {}) == (frame_id, None, (), (), None)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "a b", "Küche 1", "x" * 129, "a\n", "a\x1b[2J", "\ud83d", "\U0001f4a5", "\u202e"),
        *(True, False, [], ["f1"], {}, {"id": 1}, float("nan"), float("inf"), 10**128, 10**4000),
    ],
)  # fmt: skip
def test_a_frame_id_that_cannot_be_used_is_dropped(value: Any) -> None:
    made = read_metadata([{"frame_id": value}], {})
    assert (made.frame_id, made.dropped) == (None, ("frame_id",))
    (note,) = made.notes
    assert note.startswith("frame_id: dropped ")
    assert note.isascii()
    assert note.isprintable()
    assert len(note) < 200
    assert read_metadata([{"frame_id": value}], {"frame-id": "property"}).frame_id == "property"


def test_null_is_no_value() -> None:
    assert read_metadata([{"frame_id": None, "captured_at": None}], {}) == (None, None, (), (), None)


def test_the_nearest_that_can_be_used_counts() -> None:
    objects = [{"frame_id": "", "x": 1}, {"captured_at": 1777636800}, {"frame_id": 7, "captured_at": "never"}]
    made = read_metadata(objects, {"frame-id": "property", "captured-at": "2026-01-01T00:00:00Z"})
    assert (made.frame_id, made.captured_at) == ("7", NOON)
    assert made.dropped == ("frame_id",)


def test_a_zone_that_was_assumed_is_noted_and_nothing_is_dropped() -> None:
    made = read_metadata([], {"captured-at": "2026-05-01T12:00:00"})
    assert made == (None, NOON, ("captured-at: no time zone: UTC assumed",), (), None)


_anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@given(_anything, _anything, st.text(), st.text())
def test_anything_at_all_makes_a_result_that_can_be_published(
    frame_id: Any, captured_at: Any, property_id: str, property_time: str
) -> None:
    made = read_metadata(
        [{"frame_id": frame_id, "captured_at": captured_at}],
        {"frame-id": property_id, "captured-at": property_time},
    )
    assert set(made.dropped) <= set(FIELDS)
    fields = {"camera": "c", "worker": "w", "model": "m", "weights": "w", "label": "a", "index": 0, "top": ()}
    result = Result(
        **fields,
        **{"frame_id": made.frame_id or "hash", "captured_at": made.captured_at, "notes": made.notes},
        **{"confidence": 0.5, "width": 1, "height": 1, "batch_size": 1, "timings_ms": {}},
        **{"received_at": utc_now(), "answered_at": utc_now()},
    )
    assert Result.decode(result.encode()) == result
