"""What became of each frame is counted once, and said in one line."""

from __future__ import annotations

from typing import Any

import pytest

from publisher.sent import Sent
from publisher.tally import Tally
from wire.messages import Candidate, Reason, Rejection, Result, utc_now
from wire.mqtt.pubacks import NO_SUBSCRIBERS, NOT_AUTHORIZED

COMMON = {"frame_id": "f", "camera": "door", "worker": "nano-1", "received_at": utc_now()}
RESULT = Result(
    **COMMON,
    **{"model": "m", "weights": "w", "label": "cup", "index": 1, "confidence": 0.5, "width": 1, "height": 1},
    top=(Candidate(label="cup", index=1, confidence=0.5),),
    answered_at=utc_now(),
    timings_ms={},
    batch_size=1,
)
REJECTION = Rejection(reason=Reason.NOT_AN_IMAGE, detail="text", **COMMON)


def sent(**outcome: Any) -> Sent:
    return Sent("f", "door", "a.jpg", milliseconds=10.0, **outcome)


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ({"answer": RESULT, "reason_code": 0}, "sent 1, answered 1, rejected 0, missing 0; 10 ms"),
        ({"answer": RESULT, "dropped": True}, "sent 1, answered 1, rejected 0, missing 0; 10 ms"),
        ({"answer": REJECTION}, "sent 1, answered 0, rejected 1, missing 0; 10 ms"),
        ({"dropped": True}, "sent 1, answered 0, rejected 0, missing 0, dropped to make room 1"),
        ({"unreadable": "gone"}, "sent 1, answered 0, rejected 0, missing 0, lost from the spool 1"),
        (
            {"reason_code": NOT_AUTHORIZED},
            "sent 1, answered 0, rejected 0, missing 0, refused by the broker 1",
        ),
    ],
)
def test_a_frame_that_waits_for_its_answer_counts_once(outcome: Any, line: str) -> None:
    tally = Tally(sent=1)
    tally.count(sent(**outcome))
    assert tally.line(awaits_answers=True, not_sent=0) == line


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (0, "sent 1, taken by the broker 1; 10 ms"),
        (
            NO_SUBSCRIBERS,
            "sent 1, taken by the broker 0, for nobody 1 (no worker reads this topic); 10 ms",
        ),
        (NOT_AUTHORIZED, "sent 1, taken by the broker 0, refused by the broker 1"),
    ],
)
def test_a_frame_that_is_done_with_its_puback_counts_once(code: int, line: str) -> None:
    tally = Tally(sent=1)
    tally.count(sent(reason_code=code))
    assert tally.line(awaits_answers=False, not_sent=0) == line


def test_what_is_not_done_is_missing() -> None:
    tally = Tally(restored=2, sent=3, not_taken=4)
    line = tally.line(awaits_answers=True, not_sent=5)
    assert line == (
        "sent 3, answered 0, rejected 0, missing 3, not sent 5, 2 of them from an earlier run, "
        "not taken because the spool was full 4"
    )
    assert tally.line(awaits_answers=False, not_sent=0).startswith("sent 3, taken by the broker 0, missing 3")
