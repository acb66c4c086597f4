"""The JSON on the wire, as others may rely on it."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest

from wire.errors import DecodeError
from wire.messages import (
    AdoptionClaim,
    Beacon,
    ModelCommand,
    Reason,
    Rejection,
    Result,
    WorkerAction,
    WorkerStatus,
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
    "groups": [{"group": "food", "confidence": 0.91}],
    "notes": ["captured_at: no time"],
    "repeats": "cup-0",
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
    "labels": ["cat", "no cat"],
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
    optional |= {"complete", "labels", "groups", "notes", "frames", "repeats"}
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


def test_a_result_that_repeats_no_other_is_written_without_such_a_field() -> None:
    """As before there was one: a reader that knows it asks whether it is there."""
    plain = {name: value for name, value in RESULT.items() if name != "repeats"}
    read = Result.decode(json.dumps(plain).encode())
    assert read.repeats is None
    assert json.loads(read.encode()) == plain


def test_closed_lists() -> None:
    with pytest.raises(DecodeError, match="reason"):
        Rejection.decode(changed(REJECTION, reason='"because"'))
    with pytest.raises(DecodeError, match="state"):
        WorkerStatus.decode(changed(STATUS, state='"bored"'))
    for state in ("online", "draining", "offline", "lost"):
        assert WorkerStatus.decode(changed(STATUS, state=f'"{state}"')).state == state
    for reason in Reason:
        assert Rejection.decode(changed(REJECTION, reason=f'"{reason.value}"')).reason is reason
