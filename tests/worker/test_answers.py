"""What is published for a frame: the bytes that a checked message of the same fields has."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Dict, Tuple

import pytest

from tests.worker.serving.small import model
from wire.lengths import MAX_LABELS, MAX_NAME, MAX_SENTENCES
from wire.messages import Reason, Rejection, Result
from wire.mqtt.packets import Delivery
from worker.answers import rejection_of, result_of, timings_of
from worker.delivery.frame import Frame
from worker.errors import CorruptImage
from worker.serving.job import Classified

LONG = "x" * (MAX_NAME + 1)


def frame(**properties: str) -> Frame:
    names = {name.replace("_", "-"): value for name, value in properties.items()}
    made = Frame.receive(Delivery("t", b"\xff\xd8", 1, False, 1, 1, user_properties=names), "door")
    made.unwrap(100)
    return made


def classified(classes: Tuple[str, ...] = ("red", "green", "blue"), **others: Any) -> Classified:
    of = model().model_copy(update={"classes": classes})
    plain = Classified(of, [(1, 0.75), (0, 0.25)], None, None, 640, 480, True, 1.0, 0.00123456, 2.5e-08, 4)
    return plain._replace(**others)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"best": [(0, 1.0), (1, 1e-7), (2, 0.0)]},
        {"best": [(2, 0.3333333432674408), (0, 5e-324)]},
        {"classes": ("caf\xe9 \u2615 \U0001f600", 'quotes " and \\ and \x01\n', "</script>\u2028")},
        {"classes": (LONG, LONG, LONG), "seen": (LONG,)},
        {"seen": ()},
        {"seen": ("green", "red"), "groups": [("animal", 0.9), ("vehicle", 1e-9)]},
        {"seen": tuple(map(str, range(MAX_LABELS + 1)))},
        {"groups": []},
        {"complete": False, "repeats": "frame-0", "inference_seconds": 0.0},
    ],
)
def test_a_result_is_written_as_a_checked_one_would_be(others: Dict[str, Any]) -> None:
    given, outcome = frame(frame_id="frame-1"), classified(**others)
    answer = result_of(given, outcome, timings_of(given, outcome), "w1")
    assert answer.reason is None
    assert Result.decode(answer.payload).encode() == answer.payload


@pytest.mark.parametrize("time", ["2026-05-01T12:00:00+02:00", "2026-05-01T12:00:00.000001Z", "yesterday"])
def test_so_is_one_of_a_frame_with_a_time_and_notes(time: str) -> None:
    given = frame(captured_at=time)
    given.notes *= MAX_SENTENCES + 1
    answer = result_of(given, classified(), {}, "w1")
    result = Result.decode(answer.payload)
    assert result.encode() == answer.payload
    assert (result.captured_at is None) == (time == "yesterday") == bool(result.notes)


def test_a_result_says_what_the_model_does() -> None:
    given = frame(captured_at="2026-05-01T12:00:00+02:00")
    answer = result_of(given, classified(groups=[("animal", 0.5)]), {"decode": 0.0012}, "w1")
    written = json.loads(answer.payload)
    assert list(written) == [
        field for field in Result(**written).model_dump(by_alias=True) if field != "repeats"
    ]
    assert (written["label"], written["index"], written["confidence"]) == ("green", 1, 0.75)
    assert written["top"][1] == {"label": "red", "index": 0, "confidence": 0.25}
    assert written["groups"] == [{"group": "animal", "confidence": 0.5}]
    assert (written["frame_id"], written["camera"], written["worker"]) == (given.frame_id, "door", "w1")
    assert (written["model"], written["weights"], written["batch_size"]) == ("small", "none", 4)
    assert written["captured_at"] == "2026-05-01T10:00:00Z"
    assert written["timings_ms"]["decode"] == 1.2
    assert Result.decode(answer.payload).answered_at <= datetime.now(timezone.utc)


def test_a_rejection_says_why() -> None:
    given = frame(frame_id="frame-1")
    answer = rejection_of(given, CorruptImage("broken off"), "w1")
    rejection = Rejection.decode(answer.payload)
    assert answer.reason is rejection.reason is Reason.CORRUPT_IMAGE
    assert (rejection.frame_id, rejection.detail) == ("frame-1", "broken off")
    assert rejection.received_at == given.received_at
