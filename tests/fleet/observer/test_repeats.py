"""Frames of a still camera, which no model has seen: they vote, for the picture still shows what it did."""

from __future__ import annotations

from fleet.observer.cameras import Cameras
from tests.fleet.members import result
from wire.camera_settings import CameraBook


def test_a_frame_that_repeats_anothers_answer_votes_like_any_other() -> None:
    cameras = Cameras(CameraBook(), silent_after=300.0)
    answers = [result(frame_id="1"), *(result(frame_id=str(n), repeats="1") for n in (2, 3))]
    events = [cameras.receive(answer) for answer in answers]
    assert [event and event.label for event in events] == [None, None, "cat"]
    (state,) = cameras.states()
    assert (state.stable, state.frames, state.frame_id) == ("cat", 3, "3")


def test_the_same_picture_again_without_an_id_of_its_own_is_one_vote() -> None:
    """A frame's id is its hash then, and the frame repeats itself."""
    cameras = Cameras(CameraBook(), silent_after=300.0)
    for answer in (result(frame_id="1"), *[result(frame_id="1", repeats="1")] * 4):
        cameras.receive(answer)
    (state,) = cameras.states()
    assert (state.stable, state.frames) == ("none", 1)
