"""What a frame is made of: image bytes, an envelope, user properties."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any, Dict, Type

import pytest

from wire.messages import utc_now
from wire.packets import Delivery
from worker.errors import EmptyPayload, Expired, FrameError, InvalidEnvelope, PayloadTooLarge
from worker.frame import Frame

LIMIT = 1000


def frame(payload: bytes, **properties: str) -> Frame:
    names = {name.replace("_", "-"): value for name, value in properties.items()}
    delivery = Delivery("t", payload, qos=1, retain=False, mid=1, epoch=1, user_properties=names)
    return Frame.receive(delivery, "door")


def opened(payload: bytes, **properties: str) -> Frame:
    made = frame(payload, **properties)
    made.unwrap(LIMIT)
    return made


def envelope(**fields: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(b"pixels").decode(), **fields}).encode()


def test_plain_bytes_are_the_image_and_their_hash_the_id() -> None:
    first, again = opened(b"\xff\xd8pixels"), opened(b"\xff\xd8pixels")
    assert first.image == b"\xff\xd8pixels"
    assert first.frame_id == again.frame_id
    assert first.frame_id != opened(b"\xff\xd8other").frame_id
    assert first.frame_id != Frame.receive(first.delivery, "garden").frame_id


def test_user_properties_name_the_frame_and_its_time() -> None:
    made = opened(b"pixels", frame_id="cam-7/12", captured_at="2026-01-02T03:04:05+01:00")
    assert made.frame_id == "cam-7/12"
    assert made.captured_at is not None
    assert made.captured_at.timestamp() == 1767319445


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_an_envelope(prefix: str) -> None:
    image = prefix + base64.b64encode(b"pixels").decode()
    made = opened(envelope(image=image, frame_id="f1", captured_at="2026-01-02T03:04:05Z", more=1))
    assert (made.image, made.frame_id) == (b"pixels", "f1")
    assert made.captured_at is not None


@pytest.mark.parametrize(
    ("payload", "properties", "error"),
    [
        (b"", {}, EmptyPayload),
        (bytes(LIMIT + 1), {}, PayloadTooLarge),
        (b"{", {}, InvalidEnvelope),
        (b"{}", {}, InvalidEnvelope),
        (b' {"image": 1}', {}, InvalidEnvelope),
        (envelope(image="%%%"), {}, InvalidEnvelope),
        (envelope(image=""), {}, EmptyPayload),
        (envelope(image="data:image/png,%89PNG"), {}, InvalidEnvelope),
        (envelope(frame_id="two words"), {}, InvalidEnvelope),
        (envelope(frame_id="x" * 129), {}, InvalidEnvelope),
        (envelope(captured_at="2026-01-02T03:04:05"), {}, InvalidEnvelope),
        (b'{"image": NaN}', {}, InvalidEnvelope),
        (b'{"image": ' + b"[" * 500, {}, InvalidEnvelope),
        (b'{"image": "\xff\xfe"}', {}, InvalidEnvelope),
        (b"pixels", {"frame_id": "new\nline"}, InvalidEnvelope),
        (b"pixels", {"frame_id": "ends\n"}, InvalidEnvelope),
        (b"pixels", {"captured_at": "yesterday"}, InvalidEnvelope),
    ],
)
def test_what_breaks_the_contract_is_rejected(
    payload: bytes, properties: Dict[str, str], error: Type[FrameError]
) -> None:
    made = frame(payload, **properties)
    with pytest.raises(error) as raised:
        made.unwrap(LIMIT)
    assert str(raised.value)
    assert len(made.frame_id) == 32, "a rejection still has an id that is safe to publish"


def test_age_counts_from_capture_or_else_from_receipt() -> None:
    old = opened(b"pixels", captured_at=(utc_now() - timedelta(seconds=60)).isoformat())
    assert 60 <= old.age() < 70
    old.check_age(None)
    old.check_age(100)
    with pytest.raises(Expired, match="at most 10 s"):
        old.check_age(10)
    opened(b"pixels").check_age(10)
