"""A picture's way through decoders and engine: each job gets one outcome, whatever happens to it."""

from __future__ import annotations

from typing import Optional

import pytest

from tests.harness import wait_for
from tests.worker.serving.small import Asked, ChannelEngine, png, serving
from worker.errors import Expired, NotAnImage, NotANumber
from worker.serving.job import Classified

RED, GREEN, BLACK = png((255, 0, 0)), png((0, 255, 0)), png((0, 0, 0))


def test_a_picture_is_classified() -> None:
    asked = Asked()
    with serving(ChannelEngine()) as small:
        small.submit(asked.job, GREEN)
        outcome = asked.outcome()
    assert isinstance(outcome, Classified)
    assert outcome.label == "green"
    assert (outcome.width, outcome.height, outcome.complete, outcome.batch_size) == (8, 8, True, 1)
    assert outcome.best[0] == (1, pytest.approx(1.0))
    assert small.stalled_for() == 0.0


@pytest.mark.parametrize(
    ("image", "late", "error"),
    [
        (b"no picture", None, NotAnImage),
        (BLACK, None, NotANumber),
        (GREEN, Expired("too old"), Expired),
    ],
    ids=["no picture", "no answer", "too late"],
)
def test_what_cannot_be_classified_has_its_error(image: bytes, late: Optional[Expired], error: type) -> None:
    asked, other = Asked(late), Asked()
    with serving(ChannelEngine()) as small:
        small.submit(asked.job, image)
        small.submit(other.job, RED)
        assert isinstance(asked.outcome(), error)
        assert other.label() == "red"
        wait_for(lambda: asked.flushed == other.flushed == 1, what="each one's end")
    assert small.stalled_for() == 0.0


def test_pictures_that_wait_make_a_batch() -> None:
    engine = ChannelEngine()
    engine.gate.clear()
    asked = [Asked() for _ in range(4)]
    with serving(engine) as small:
        for each in asked:
            small.submit(each.job, RED)
        wait_for(lambda: engine.batches, what="the first batch")
        wait_for(lambda: small.stalled_for() > 0.05, what="work that waits")
        engine.gate.set()
        assert [each.label() for each in asked] == ["red"] * 4
        wait_for(lambda: [each.flushed for each in asked] == [1] * 4, what="each batch's end")
    assert sum(engine.batches) == 4
    assert max(engine.batches) == 2


def test_a_batch_does_not_wait_for_what_turns_out_to_be_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.serving.batcher.MAX_WAIT_SECONDS", 3600.0)
    asked, others = Asked(), [Asked() for _ in range(3)]
    with serving(ChannelEngine()) as small:
        small.submit(asked.job, RED)
        for other in others:
            small.submit(other.job, b"no picture")
        assert asked.label() == "red"


def test_one_that_is_retired_is_idle_once_its_last_picture_is_through() -> None:
    engine = ChannelEngine()
    engine.gate.clear()
    asked = Asked()
    with serving(engine) as small:
        small.submit(asked.job, RED)
        small.retire()
        assert not small.idle.is_set()
        engine.gate.set()
        assert asked.label() == "red"
        assert small.idle.wait(30)
