"""When all that is retained has come."""

from __future__ import annotations

from fleet.observer.restoring import MOST_SECONDS, QUIET_SECONDS, SETTLED_SECONDS, Restoring
from wire.cameras import CameraState


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_all_has_come_once_nothing_came_for_a_while() -> None:
    clock = Clock()
    restoring = Restoring(clock)
    clock.seconds += 100
    assert not restoring.is_complete  # not even subscribed
    restoring.begin()
    clock.seconds += QUIET_SECONDS / 2
    restoring.came()
    restoring.add(CameraState(camera="door"))
    clock.seconds += QUIET_SECONDS * 0.9
    restoring.begin()
    assert not restoring.is_complete
    clock.seconds += QUIET_SECONDS * 0.2
    assert restoring.is_complete
    assert not restoring.is_settled
    assert [state.camera for state in restoring.take()] == ["door"]
    assert restoring.take() == []


def test_it_goes_on_even_if_there_is_no_end_of_it() -> None:
    clock = Clock()
    restoring = Restoring(clock)
    restoring.begin()
    while clock.seconds < 1000 + MOST_SECONDS:
        assert not restoring.is_complete
        clock.seconds += QUIET_SECONDS / 2
        restoring.came()
    assert restoring.is_complete
    clock.seconds = 1000 + SETTLED_SECONDS
    assert restoring.is_settled
