"""An observer that goes on from what another one has retained."""

from __future__ import annotations

from datetime import timedelta

from tests.fleet.members import rejection
from tests.fleet.observer.watched import NOON, Fleet
from wire.cameras import CameraState


def test_another_observer_goes_on_from_what_is_retained() -> None:
    fleet = Fleet()
    for _ in range(4):
        fleet.answer()
    retained = CameraState.decode(fleet.state().encode())
    fleet.wait(100)
    fleet.cameras = fleet.observer()
    fleet.cameras.restore(retained)
    assert fleet.answer("dog") is None
    state = fleet.state()
    assert (state.frames, state.label, state.stable, state.stable_since) == (5, "dog", "cat", NOON)
    fleet.wait(250)
    fleet.published()
    assert not fleet.state().silent
    for _ in range(3):
        fleet.answer("dog")
    assert fleet.state().stable == "dog"


def test_what_is_retained_and_comes_late_is_gone_on_from() -> None:
    fleet = Fleet()
    for _ in range(4):
        fleet.answer()
    fleet.cameras.receive(rejection().model_copy(update={"frame_id": "other"}))
    retained = fleet.state()
    fleet.cameras = fleet.observer()
    assert [fleet.answer() for _ in range(2)] == [None, None]
    fleet.cameras.restore(retained)
    assert fleet.answer() is None  # the cat is no news
    state = fleet.state()
    assert (state.frames, state.rejections, state.stable, state.stable_since) == (7, 1, "cat", NOON)
    fleet.cameras.restore(retained)
    assert fleet.state().frames == 7


def test_a_state_that_comes_back_is_not_gone_on_from_twice() -> None:
    fleet = Fleet()
    fleet.answer()
    fleet.cameras.restore(fleet.state())
    assert fleet.state().frames == 1


def test_what_is_retained_may_lie() -> None:
    fleet = Fleet()
    lies = CameraState(camera="door", frames=10**200, last_seen=NOON + timedelta(days=900), stable="cat")
    fleet.cameras.restore(lies)
    fleet.answer("dog")
    assert fleet.state().label == "dog"
    assert fleet.state().frames < 10**13
    fleet.cameras.restore(CameraState(camera="a b"))
    assert "a b" not in fleet.cameras
