"""The JSON on the wire, as others may rely on it."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest

from tests.wire.samples import CLAIM, COMMAND, REJECTION, RESULT, STATUS, changed
from wire.errors import DecodeError
from wire.messages import (
    AdoptionClaim,
    Beacon,
    ModelCommand,
    Reason,
    Rejection,
    Result,
    WorkerStatus,
)

MESSAGES = pytest.mark.parametrize(
    ("message", "fields"),
    [
        (Result, RESULT),
        (Rejection, REJECTION),
        (WorkerStatus, STATUS),
        (AdoptionClaim, CLAIM),
        (Beacon, {"schema": 1, "worker": "w1", "instance": "6f1f6b1c"}),
        (ModelCommand, COMMAND),
    ],
)


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


def test_closed_lists() -> None:
    with pytest.raises(DecodeError, match="reason"):
        Rejection.decode(changed(REJECTION, reason='"because"'))
    with pytest.raises(DecodeError, match="state"):
        WorkerStatus.decode(changed(STATUS, state='"bored"'))
    for state in ("online", "draining", "offline", "lost"):
        assert WorkerStatus.decode(changed(STATUS, state=f'"{state}"')).state == state
    for reason in Reason:
        assert Rejection.decode(changed(REJECTION, reason=f'"{reason.value}"')).reason is reason
