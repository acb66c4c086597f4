"""Cameras of which nothing comes for a while."""

from __future__ import annotations

from datetime import timedelta

from tests.fleet.members import rejection, result
from tests.fleet.observer.watched import NOON, Fleet
from wire.cameras import CameraSettings, CameraState


def test_a_camera_is_silent_after_a_while() -> None:
    fleet = Fleet(
        silent_after=300, motion=CameraSettings(silent_after=0), slow=CameraSettings(silent_after=900)
    )
    for camera in ("door", "motion", "slow"):
        fleet.cameras.receive(result(camera))
    fleet.published()
    fleet.wait(301)
    assert [(state.camera, state.silent) for state in fleet.published()] == [("door", True)]
    fleet.wait(600)
    assert [state.camera for state in fleet.published()] == ["slow"]
    fleet.answer(frame_id="again")
    (state,) = fleet.published()
    assert (state.camera, state.silent) == ("door", False)


def test_what_was_seen_before_a_silence_is_not_seen_after_it() -> None:
    fleet = Fleet(silent_after=300)
    for _ in range(5):
        fleet.answer("cat")
    assert (fleet.state().stable, fleet.state().stable_since) == ("cat", NOON)
    fleet.wait(301)
    fleet.published()
    state = fleet.state()
    assert (state.silent, state.stable, state.stable_since) == (True, "none", NOON + timedelta(seconds=301))
    assert (state.last_known, state.frames) == ("cat", 5)
    fleet.wait(3600)
    for stable in ("none", "none", "cat"):  # another one, of which an automation has to hear
        fleet.answer("cat")
        assert fleet.state().stable == stable
    assert fleet.state().stable_since == fleet.day


def test_a_camera_that_was_silent_stays_silent_over_a_restart() -> None:
    fleet = Fleet()
    for state in (
        CameraState(camera="door", silent=True, last_seen=NOON + timedelta(days=9)),
        CameraState(camera="old"),
    ):
        fleet.cameras.restore(state)
    assert {(state.camera, state.silent) for state in fleet.published()} == {("door", True), ("old", True)}


def test_one_that_died_before_a_restart_becomes_silent_after_it() -> None:
    fleet = Fleet()
    fleet.cameras.restore(CameraState(camera="door", last_seen=NOON - timedelta(seconds=200)))
    assert not fleet.published()[0].silent
    fleet.wait(301)
    assert fleet.published()[0].silent


def test_an_observer_whose_clock_is_ahead_silences_no_camera() -> None:
    fleet = Fleet(silent_after=300)
    for _ in range(3):
        fleet.answer()
    retained = fleet.state()
    fleet.day += timedelta(hours=1)
    fleet.cameras = fleet.observer()
    fleet.cameras.restore(retained)
    (state,) = fleet.published()
    assert (state.silent, state.stable) == (False, "cat")
    assert [fleet.answer() for _ in range(3)] == [None] * 3


def test_what_was_seen_before_a_while_of_rejections_is_not_seen_any_more() -> None:
    """Such as of a camera that went blind: it is not silent, but nothing is known of what is there now."""
    fleet = Fleet(silent_after=300)
    for _ in range(5):
        fleet.answer("cat")
    for number in range(4):
        fleet.published()
        assert fleet.state().stable == "cat"
        fleet.wait(100)
        fleet.cameras.receive(rejection().model_copy(update={"frame_id": f"blind-{number}"}))
    (state,) = fleet.published()
    assert (state.silent, state.rejected_last, state.stable) == (False, True, "none")
    assert (state.stable_confidence, state.stable_since, state.last_known) == (None, fleet.day, "cat")
    assert (state.label, state.confidence, state.top) == (None, None, ())
    assert fleet.published() == []
    assert [fleet.answer("cat") is None for _ in range(3)] == [True, True, False]
