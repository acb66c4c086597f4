"""The JSON on the wire, as others may rely on it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wire.errors import DecodeError
from wire.messages import (
    AdoptionClaim,
    Beacon,
    Candidate,
    ModelCommand,
    Reason,
    Rejection,
    Result,
    WorkerAction,
    WorkerStatus,
    utc_now,
)

MOMENT = "2026-11-24T04:05:06.789000Z"

RESULT: Dict[str, Any] = {
    "schema": 1,
    "frame_id": "cup-1",
    "camera": "door",
    "worker": "w1",
    "model": "efficientnet_lite0",
    "weights": "0123abcd",
    "label": "espresso",
    "index": 967,
    "confidence": 0.84,
    "top": [{"label": "espresso", "index": 967, "confidence": 0.84}],
    "width": 600,
    "height": 400,
    "captured_at": None,
    "received_at": MOMENT,
    "answered_at": MOMENT,
    "timings_ms": {"queue": 0.1, "decode": 4.0, "inference": 9.5, "total": 14.0},
    "batch_size": 1,
    "complete": False,
    "labels": ["cat", "sofa"],
    "notes": ["captured_at: no time"],
}
REJECTION: Dict[str, Any] = {
    "schema": 1,
    "frame_id": "cup-1",
    "camera": "door",
    "worker": "w1",
    "reason": "not_an_image",
    "detail": "neither JPEG nor PNG nor WebP",
    "received_at": MOMENT,
}
STATUS: Dict[str, Any] = {
    "schema": 1,
    "worker": "w1",
    "state": "online",
    "instance": "6f1f6b1c",
    "group": "workers",
    "inputs": ["nanofleet/frames/{camera}"],
    "lease_seconds": 30.0,
    "model": "efficientnet_lite0",
    "weights": "0123abcd",
    "engine": "torch",
    "engine_why": "asked for",
    "device": "cpu",
    "assumed": ["the scaling"],
    "metrics": "http://127.0.0.1:9464/metrics",
    "version": "0.1.0",
    "started_at": MOMENT,
    "sent_at": MOMENT,
    "frames_per_second": 12.5,
    "in_hand": 3,
    "takes_frames": False,
    "wait_seconds": 0.7,
    "accepts_control": True,
    "change": {
        "command": "c1",
        "topic": "nanofleet/control/model",
        "model": "resnet50",
        "instead_of": "mobilenet_v2",
        "state": "serving",
        "detail": "",
        "compared": 20,
        "agreed": 19,
    },
    "latency_seconds": 0.042,
    "temperature_celsius": 41.5,
}
CLAIM: Dict[str, Any] = {
    "schema": 1,
    "dead": "w2",
    "instance": "6f1f6b1c",
    "worker": "w1",
    "state": "draining",
    "frames": 7,
    "sent_at": MOMENT,
}
COMMAND: Dict[str, Any] = {
    "schema": 1,
    "id": "c1",
    "choice": {
        "model": "resnet18@birds.pth",
        "labels": "birds.txt",
        "sha256": "0" * 64,
        "resize": 232,
        "crop": 224,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "scaling": None,
        "channels": "bgr",
        "fit": "squeeze",
        "activation": "sigmoid",
        "threshold": 0.25,
        "state_key": "model_ema",
    },
    "compare": True,
}
MESSAGES = pytest.mark.parametrize(
    ("message", "fields"),
    [
        (Result, RESULT),
        (Rejection, REJECTION),
        (WorkerStatus, STATUS),
        (AdoptionClaim, CLAIM),
        (Beacon, {"schema": 1, "worker": "w1", "instance": "6f1f6b1c"}),
        (ModelCommand, COMMAND),
        (WorkerAction, {"schema": 1, "action": "drain"}),
    ],
)


def changed(fields: Dict[str, Any], **changes: str) -> bytes:
    """The message with some fields replaced by raw JSON."""
    marked = {**fields, **{name: f"@{name}@" for name in changes}}
    text = json.dumps(marked)
    for name, value in changes.items():
        text = text.replace(f'"@{name}@"', value)
    return text.encode()


@MESSAGES
def test_these_fields_and_no_others_cross_the_wire(message: Any, fields: Dict[str, Any]) -> None:
    assert json.loads(message.decode(json.dumps(fields).encode()).encode()) == fields


@MESSAGES
def test_unknown_fields_are_tolerated(message: Any, fields: Dict[str, Any]) -> None:
    plain = message.decode(json.dumps(fields).encode())
    assert message.decode(json.dumps({**fields, "mood": {"today": "good"}}).encode()) == plain


@MESSAGES
def test_another_schema_is_refused_and_a_missing_one_is_ours(message: Any, fields: Dict[str, Any]) -> None:
    for schema in ("2", '"1"', "null", "0"):
        with pytest.raises(DecodeError, match="schema"):
            message.decode(changed(fields, schema=schema))
    without = {name: value for name, value in fields.items() if name != "schema"}
    assert message.decode(json.dumps(without).encode()).schema_ == 1


@MESSAGES
def test_each_missing_field_is_named(message: Any, fields: Dict[str, Any]) -> None:
    optional = {"schema", "captured_at", "frames_per_second", "in_hand"}
    optional |= {"engine_why", "accepts_control", "change", "id", "compare", "assumed", "metrics"}
    optional |= {"complete", "labels", "notes", "frames"}
    optional |= {"group", "inputs", "lease_seconds", "instance", "takes_frames", "wait_seconds"}
    optional |= {"latency_seconds", "temperature_celsius"}
    optional -= {"instance"} if message in (AdoptionClaim, Beacon) else set()
    for name in set(fields) - optional:
        with pytest.raises(DecodeError, match=f"not a {message.__name__}: {name}"):
            message.decode(json.dumps({k: v for k, v in fields.items() if k != name}).encode())


@MESSAGES
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"frame_id": "\xff"}',
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
    ],
    ids=["empty", "binary", "no UTF-8", "null", "list", "text", "cut off", "deep", "deeper", "5000 digits"],
)
def test_hostile_bytes_are_a_decode_error(message: Any, fields: Dict[str, Any], payload: bytes) -> None:
    with pytest.raises(DecodeError, match=f"^not a {message.__name__}: ") as caught:
        message.decode(payload)
    assert len(str(caught.value)) < 2000


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


def test_closed_lists() -> None:
    with pytest.raises(DecodeError, match="reason"):
        Rejection.decode(changed(REJECTION, reason='"because"'))
    with pytest.raises(DecodeError, match="state"):
        WorkerStatus.decode(changed(STATUS, state='"bored"'))
    for state in ("online", "draining", "offline", "lost"):
        assert WorkerStatus.decode(changed(STATUS, state=f'"{state}"')).state == state
    for reason in Reason:
        assert Rejection.decode(changed(REJECTION, reason=f'"{reason.value}"')).reason is reason


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
