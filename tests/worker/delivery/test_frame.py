"""What a frame is made of: image bytes, an envelope, user properties."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any, Dict, Tuple, Type

import pytest

from wire.mqtt.packets import Delivery
from worker.delivery.frame import Frame
from worker.errors import EmptyPayload, Expired, FrameError, InvalidEnvelope, PayloadTooLarge

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
        (envelope(image="data:image/png;base64"), {}, InvalidEnvelope),
        (b'{"image": NaN}', {}, InvalidEnvelope),
        (b'{"image": ' + b"[" * 500, {}, InvalidEnvelope),
        (b'{"image": "\xff\xfe"}', {}, InvalidEnvelope),
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


@pytest.mark.parametrize("payload", [b"pixels", b"\xff\xd8\xffpixels"])
@pytest.mark.parametrize(
    ("properties", "dropped"),
    [
        ({"frame_id": "new\nline"}, ("frame_id",)),
        ({"frame_id": "ends\n"}, ("frame_id",)),
        ({"frame_id": ""}, ("frame_id",)),
        ({"frame_id": "f\u00fcr"}, ("frame_id",)),
        ({"frame_id": "x" * 129}, ("frame_id",)),
        ({"captured_at": "yesterday"}, ("captured_at",)),
        ({"captured_at": "2026-13-01T00:00:00Z"}, ("captured_at",)),
        ({"captured_at": "17"}, ("captured_at",)),
        ({"frame_id": "two words", "captured_at": ""}, ("frame_id", "captured_at")),
    ],
)
def test_properties_that_cannot_be_used_cost_no_picture(
    payload: bytes, properties: Dict[str, str], dropped: Tuple[str, ...]
) -> None:
    made, again = opened(payload, **properties), opened(payload, **properties)
    assert made.image == payload
    assert made.dropped == dropped
    assert [note.split(":")[0].replace("-", "_") for note in made.notes] == list(dropped)
    assert made.captured_at is None
    if "frame_id" in properties:
        assert len(made.frame_id) == 32
        assert made.frame_id == again.frame_id, "a hash, the same when it is delivered again"


@pytest.mark.parametrize("payload", [b"pixels", b"\xff\xd8\xffpixels"])
def test_the_property_of_a_time_may_be_written_otherwise(payload: bytes) -> None:
    for text in ("1777636800", "2026:05:01 12:00:00", "2026-05-01T12:00:00", "Fri, 01 May 2026 12:00:00 GMT"):
        made = opened(payload, frame_id="f1", captured_at=text)
        assert made.captured_at is not None
        assert made.captured_at.timestamp() == 1777636800
        assert (made.frame_id, made.dropped) == ("f1", ())
        assert made.notes == (() if text[:1] in "1F" else ("captured-at: no time zone: UTC assumed",))


def test_an_envelope_keeps_the_property_where_its_own_id_cannot_be_used() -> None:
    made = opened(envelope(frame_id="two words", captured_at={}), frame_id="of-the-property")
    assert (made.image, made.frame_id, made.captured_at) == (b"pixels", "of-the-property", None)
    assert made.dropped == ("frame_id", "captured_at")
    assert opened(envelope(frame_id=17), frame_id="of-the-property").frame_id == "17"


def test_that_a_zone_was_assumed_is_told_to_whoever_hears_that_the_frame_is_too_old() -> None:
    made = opened(envelope(captured_at="2026-05-01T12:00:00"))
    made.age_received = 11.0
    with pytest.raises(Expired, match=r"captured_at: no time zone: UTC assumed"):
        made.check_age(10)


def test_age_counts_from_receipt_on_by_a_clock_that_does_not_jump() -> None:
    old = opened(b"pixels")
    old.received_ticks -= 60
    assert 60 <= old.age() < 70
    old.check_age(None)
    old.check_age(100)
    with pytest.raises(Expired, match="at most 10 s"):
        old.check_age(10)
    opened(b"pixels").check_age(10)


@pytest.mark.parametrize("payload", [b"\xff\xd8\xffpixels", envelope()])
def test_when_it_was_sent_is_read_as_when_it_was_captured(payload: bytes) -> None:
    made = opened(payload, captured_at="2026-01-02T03:04:05+01:00", sent_at="2026-01-02T03:04:07+01:00")
    assert made.captured_at is not None
    assert made.sent_at == made.captured_at + timedelta(seconds=2)
    frame = opened(envelope(sent_at=1777636800))
    assert frame.sent_at is not None
    assert frame.sent_at.timestamp() == 1777636800
    dropped = opened(payload, sent_at="soon")
    assert (dropped.sent_at, dropped.dropped) == (None, ("sent_at",))
