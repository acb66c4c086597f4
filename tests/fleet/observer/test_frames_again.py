"""Frames that are answered more than once."""

from __future__ import annotations

from tests.fleet.members import rejection
from tests.fleet.observer.watched import Fleet
from wire.cameras import NONE


def test_a_redelivered_answer_counts_once_but_shows_that_the_camera_lives() -> None:
    fleet = Fleet()
    for _ in range(3):
        fleet.answer(frame_id="same")
    assert (fleet.state().frames, fleet.state().stable) == (1, NONE)
    fleet.wait(200)
    fleet.answer(frame_id="same")
    fleet.wait(200)
    fleet.published()
    assert not fleet.state().silent


def test_a_known_frame_that_comes_again_shows_what_the_camera_is_like_now() -> None:
    fleet = Fleet()
    fleet.answer("cat", frame_id="A")
    fleet.answer("dog", frame_id="B")
    fleet.answer("cat", 0.8, frame_id="A")
    state = fleet.state()
    assert (state.label, state.confidence, state.frame_id, state.frames) == ("cat", 0.8, "A", 2)
    fleet.cameras.receive(rejection().model_copy(update={"frame_id": "X"}))
    assert fleet.state().rejected_last
    fleet.answer("cat", frame_id="A")
    assert not fleet.state().rejected_last
    assert (fleet.state().frames, fleet.state().rejections, fleet.state().stable) == (2, 1, NONE)


def test_a_result_counts_after_a_rejection_of_the_same_frame() -> None:
    fleet = Fleet()
    for _ in range(2):
        fleet.cameras.receive(rejection())
    for _ in range(2):
        fleet.answer(frame_id="1")
    assert (fleet.state().frames, fleet.state().rejections) == (1, 1)
