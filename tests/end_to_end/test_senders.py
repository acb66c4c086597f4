"""Pictures as senders write them, through real brokers: answered rightly, and with what was assumed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from tests.fleets import Fleet, on_both_brokers
from tests.harness import MODEL, user_properties, wait_for
from tests.metrics import metric
from wire.messages import Rejection, Result


@pytest.fixture
def coffee(photos: Path) -> bytes:
    return (photos / "coffee.png").read_bytes()


def envelope(image: bytes, **fields: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(image).decode(), **fields}).encode()


@on_both_brokers
def test_pictures_without_our_envelope(
    coffee: bytes,
    photos: Path,
    fleet: Fleet,
) -> None:
    fleet.worker("--model", MODEL)
    listener = fleet.listen("results/+", "rejects/+")
    text = base64.b64encode(coffee)
    rocket = (photos / "rocket.jpg").read_bytes()
    forms = {
        "base64": (text, "espresso"),
        "mime": (base64.encodebytes(coffee), "espresso"),
        "url-alphabet": (base64.urlsafe_b64encode(coffee).rstrip(b"="), "espresso"),
        "data-uri": (b'DATA:image/png;name="a,b.png";Base64, ' + text, "espresso"),
        "json-string": (json.dumps(text.decode()).encode(), "espresso"),
        "buffer": (json.dumps({"type": "Buffer", "data": list(rocket)}).encode(), "missile"),
        "image-buffer": (json.dumps({"image": {"type": "Buffer", "data": list(rocket)}}).encode(), "missile"),
        "nested": (json.dumps({"payload": {"image": text.decode()}}).encode(), "espresso"),
        "bom-and-nuls": (b"\xef\xbb\xbf" + envelope(coffee) + bytes(9), "espresso"),
        "utf-16": (envelope(coffee).decode().encode("utf-16"), "espresso"),
        "multipart": (b"\r\n--f\r\nContent-Type: image/jpeg\r\n\r\n" + rocket + b"\r\n--f--\r\n", "missile"),
        "crlf": (b"\r\n" + rocket, "missile"),
    }
    for camera, (payload, _) in forms.items():
        fleet.send(camera, payload)
    wait_for(lambda: len(listener.messages) == len(forms), what="an answer to each")
    labels = {(r := Result.decode(m.payload)).camera: (r.label, r.notes) for m in listener.messages}
    assert labels == {camera: (label, ()) for camera, (_, label) in forms.items()}


def test_metadata_that_cannot_be_used_costs_no_picture(
    coffee: bytes,
    fleet: Fleet,
) -> None:
    worker = fleet.worker("--model", MODEL)
    listener = fleet.listen("results/+", "rejects/+")
    noon = "2026-05-01T12:00:00+00:00"
    #: Payload and user properties; the frame's id (None for a hash), its time, and how its notes begin.
    frames: Dict[str, Tuple[bytes, Dict[str, str], Any, Any, Tuple[str, ...]]] = {
        "number": (envelope(coffee, frame_id=17), {}, "17", None, ()),
        "umlaut": (envelope(coffee, frame_id="Küche 1"), {}, None, None, ("frame_id: dropped",)),
        "naive": (envelope(coffee, captured_at="2026-05-01T12:00:00"), {}, None, noon, ("captured_at: no",)),
        "exif": (coffee, {"captured-at": "2026:05:01 12:00:00"}, None, noon, ("captured-at: no",)),
        "ns": (envelope(coffee, captured_at=1777636800000000000), {}, None, noon, ()),
        "rfc-2822": (coffee, {"captured-at": "Fri, 01 May 2026 12:00:00 GMT"}, None, noon, ()),
        "space": (coffee, {"frame-id": "frame 1"}, None, None, ("frame-id: dropped",)),
        "never": (coffee, {"frame-id": "f1", "captured-at": "never"}, "f1", None, ("captured-at: dropped",)),
    }  # fmt: skip
    for camera, (payload, given, *_) in frames.items():
        fleet.send(camera, payload, **user_properties(*given.items()))
    wait_for(lambda: len(listener.messages) == len(frames), what="an answer to each")
    for result in (Result.decode(message.payload) for message in listener.messages):
        _, _, frame_id, captured_at, notes = frames[result.camera]
        assert result.label == "espresso"
        assert result.frame_id == frame_id or (frame_id is None and len(result.frame_id) == 32)
        assert (result.captured_at and result.captured_at.isoformat()) == captured_at
        assert len(result.notes) == len(notes)
        assert all(note.startswith(begin) for note, begin in zip(result.notes, notes))
    assert metric(worker, "nanofleet_dropped_metadata_total", field="frame_id") == 2
    assert metric(worker, "nanofleet_dropped_metadata_total", field="captured_at") == 1
    assert worker.log.read_text().count("goes on without part of its metadata") == 3


def test_a_text_that_is_no_picture_is_rejected_in_words(
    coffee: bytes,
    fleet: Fleet,
) -> None:
    fleet.worker()
    listener = fleet.listen("results/+", "rejects/+")
    text = base64.b64encode(coffee).decode()
    fleet.send("door", json.dumps({"image": f"{text[:99]}*{text[99:]}"}).encode())
    wait_for(lambda: listener.messages, what="an answer")
    rejection = Rejection.decode(listener.messages[0].payload)
    assert rejection.reason.value == "invalid_envelope"
    assert rejection.detail == "image: neither base64 nor a data URI: '*' is no character of base64"
