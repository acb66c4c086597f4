"""Answers that come late, and clocks that are wrong: nothing turns a state back."""

from __future__ import annotations

from datetime import timedelta

from tests.fleet.observer.watched import Fleet


def test_what_comes_late_does_not_turn_the_state_back() -> None:
    """A worker that was cut off sends what it has answered meanwhile; its clock is an hour ahead."""
    fleet = Fleet()
    ahead = timedelta(hours=1)
    fleet.cameras.worker_clocks.note("away", fleet.day + ahead)
    fleet.cameras.worker_clocks.note("nano-1", fleet.day)
    for _ in range(3):
        fleet.answer("cat", worker="away", answered_at=fleet.day + ahead)
    assert fleet.state().stable == "cat"
    answered = fleet.day + ahead
    fleet.wait(60)
    for _ in range(5):
        fleet.answer("dog")
    before = fleet.state()
    assert before.stable == "dog"
    for _ in range(5):
        fleet.answer("cat", worker="away", answered_at=answered)
    assert fleet.state() == before.model_copy(update={"frames": 13})
    assert fleet.answer("dog", worker="away", answered_at=fleet.day + ahead) is None
    assert (fleet.state().frames, fleet.state().worker) == (14, "away")


def test_a_late_answer_to_the_newest_frame_tells_when_that_was() -> None:
    fleet = Fleet()
    fleet.cameras.worker_clocks.note("nano-1", fleet.day)
    answered = fleet.day
    fleet.wait(60)
    fleet.answer(answered_at=answered)
    assert fleet.state().last_seen == answered


def test_a_retained_status_tells_of_a_clock_until_another_comes() -> None:
    """After a takeover, what a worker sends late must not count as new until its next status."""
    fleet = Fleet()
    ahead = timedelta(hours=1)
    fleet.cameras.worker_clocks.note("away", fleet.day + ahead - timedelta(seconds=8), retained=True)
    answered = fleet.day + ahead - timedelta(seconds=60)
    for _ in range(3):
        fleet.answer("dog")
    for _ in range(5):
        fleet.answer("cat", worker="away", answered_at=answered)
    assert (fleet.state().label, fleet.state().stable, fleet.state().frames) == ("dog", "dog", 8)
    clocks = fleet.cameras.worker_clocks
    clocks.note("away", fleet.day + ahead)
    clocks.note("away", fleet.day, retained=True)
    assert clocks.lateness("away", answered) == 60


def test_a_worker_whose_clock_is_set_back_is_still_believed() -> None:
    fleet = Fleet()
    fleet.cameras.worker_clocks.note("nano-1", fleet.day + timedelta(days=365))
    fleet.answer("cat", answered_at=fleet.day + timedelta(days=365))
    fleet.wait(1)
    fleet.cameras.worker_clocks.note("nano-1", fleet.day)
    fleet.answer("dog")
    assert fleet.state().label == "dog"


def test_this_machines_time_of_day_is_set_without_harm() -> None:
    fleet = Fleet()
    fleet.answer()
    fleet.published()
    fleet.day += timedelta(days=20_000)
    assert fleet.published() == []
    fleet.answer("dog")
    assert (fleet.state().label, fleet.state().silent) == ("dog", False)
