"""What becomes of answers: the states, when they are due, and what must not turn them back."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timedelta, timezone
from typing import Any, List, Mapping, Optional

from fleet.observer.cameras import Cameras
from tests.fleet.members import rejection, result
from wire.camera_settings import MAX_CAMERAS, CameraBook
from wire.cameras import NONE, CameraEvent, CameraSettings, CameraState, Stability
from wire.messages import Candidate, GroupScore, Reason

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


class Fleet:
    """Cameras, and a time that passes when it is told to; the clock and the time of day are two things."""

    def __init__(self, silent_after: float = 300.0, **file: CameraSettings) -> None:
        self.seconds = 1000.0
        self.day = NOON
        self.sent = 0
        self.cameras = self.observer(silent_after, file)

    def observer(self, silent_after: float = 300.0, file: Optional[Mapping[str, Any]] = None) -> Cameras:
        book = CameraBook(file or {})
        return Cameras(book, silent_after, clock=lambda: self.seconds, now=lambda: self.day)

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.day += timedelta(seconds=seconds)

    def answer(self, label: str = "cat", confidence: float = 0.9, **facts: Any) -> Optional[CameraEvent]:
        self.sent += 1
        usual = {"frame_id": str(self.sent), "answered_at": self.day, "received_at": self.day}
        return self.cameras.receive(result("door", label, confidence, **{**usual, **facts}))

    def state(self, camera: str = "door") -> CameraState:
        (state,) = [state for state in self.cameras.states() if state.camera == camera]
        return state

    def published(self) -> List[CameraState]:
        return self.cameras.all_due()


def test_a_state_says_what_the_last_frames_were() -> None:
    fleet = Fleet(door=CameraSettings(name="Front door", area="Entrance"))
    assert [fleet.answer() for _ in range(2)] == [None, None]
    event = fleet.answer(frame_id="third")
    assert event == CameraEvent(camera="door", label="cat", confidence=0.9, frame_id="third", at=NOON)
    fleet.wait(1)
    assert fleet.answer("dog", 0.4, worker="nano-2", model="other") is None
    state = fleet.state()
    assert (state.name, state.area) == ("Front door", "Entrance")
    assert (state.label, state.confidence, state.top[0].label) == ("dog", 0.4, "dog")
    assert (state.stable, state.stable_confidence, state.stable_since) == ("cat", 0.9, NOON)
    assert (state.last_known, state.last_known_at) == ("cat", NOON + timedelta(seconds=1))
    assert (state.last_seen, state.frames, state.worker) == (NOON + timedelta(seconds=1), 4, "nano-2")
    assert state.model == "other"
    for _ in range(4):
        fleet.wait(1)
        fleet.answer("dog", 0.4)
    assert (fleet.state().stable, fleet.state().last_known) == (NONE, "cat")
    assert fleet.state().stable_since > NOON  # type: ignore[operator]


def test_groups_are_stable_by_the_same_rule() -> None:
    fleet = Fleet(door=CameraSettings(stable=Stability(of="group")))
    pets = (GroupScore(group="pet", confidence=0.8), GroupScore(group="person", confidence=0.1))
    labels = ["tabby", "beagle", "Siamese cat"]
    events = [fleet.answer(label, 0.3, groups=pets) for label in labels]
    assert [event.label if event else "" for event in events] == ["", "", "pet"]
    state = fleet.state()
    assert (state.stable, state.group, state.group_confidence, state.label) == ("pet", "pet", 0.8, labels[2])
    for _ in range(5):
        fleet.answer("tabby", 0.9)  # of a model whose labels nobody grouped
    assert (fleet.state().stable, fleet.state().group) == (NONE, NONE)


def test_a_model_that_saw_nothing_votes_for_nothing() -> None:
    fleet = Fleet()
    pets = (GroupScore(group="pet", confidence=0.8),)
    for _ in range(5):
        assert fleet.answer("cat", 0.9, labels=(), groups=pets) is None
    assert (fleet.state().label, fleet.state().stable, fleet.state().group) == ("cat", NONE, NONE)


def test_rejections_are_counted_and_change_no_label() -> None:
    fleet = Fleet()
    for _ in range(3):
        fleet.answer()
    fleet.cameras.receive(rejection().model_copy(update={"frame_id": "other"}))
    state = fleet.state()
    assert (state.frames, state.rejections, state.stable, state.rejected_last) == (3, 1, "cat", True)
    assert state.last_rejection == Reason.NOT_AN_IMAGE
    fleet.answer()
    assert not fleet.state().rejected_last
    assert fleet.state().last_rejection == Reason.NOT_AN_IMAGE


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


def test_a_change_is_published_at_once_and_the_rest_every_few_seconds() -> None:
    fleet = Fleet()
    fleet.answer()
    assert [state.frames for state in fleet.published()] == [1]
    published = []
    for _ in range(100):  # ten a second
        fleet.wait(0.1)
        fleet.answer("cat")
        published += fleet.published()
    assert [(state.frames, state.stable) for state in published] == [(6, "cat"), (56, "cat")]
    assert fleet.cameras.due("door") is None
    fleet.wait(5)
    assert len(fleet.published()) == 1
    fleet.wait(60)
    assert fleet.published() == []


def test_a_camera_that_flickers_by_its_settings_floods_nobody() -> None:
    fleet = Fleet(door=CameraSettings(stable=Stability(k=1, n=1)))
    published = 0
    for n in range(100):
        fleet.wait(0.1)
        fleet.answer("cat" if n % 2 else "dog")
        published += len(fleet.published())
    assert published <= 21


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


def test_a_removed_camera_is_new_when_it_sends_again() -> None:
    fleet = Fleet()
    for _ in range(5):
        fleet.answer()
    fleet.cameras.forget("door")
    assert fleet.cameras.states() == []
    fleet.answer()
    assert (fleet.state().frames, fleet.state().stable) == (1, NONE)


def test_settings_are_followed_and_a_retained_message_goes_before_the_file() -> None:
    fleet = Fleet(door=CameraSettings(name="Filed", area="Hall"))
    fleet.answer()
    assert fleet.published()[0].name == "Filed"
    fleet.wait(1)
    fleet.cameras.receive_settings("door", CameraSettings(name="Set").encode())
    (state,) = fleet.published()
    assert (state.name, state.area) == ("Set", "")
    fleet.wait(1)
    fleet.cameras.receive_settings("door", b"")
    assert fleet.published()[0].name == "Filed"


def test_made_up_cameras_do_not_lock_out_real_ones() -> None:
    fleet = Fleet(silent_after=300)
    for n in range(MAX_CAMERAS):
        fleet.cameras.receive(result(f"c{n}"))
        fleet.seconds += 0.01
    fleet.cameras.receive(result("door"))
    assert "door" not in fleet.cameras
    fleet.wait(301)
    fleet.published()
    fleet.cameras.receive(result("c0"))
    fleet.cameras.receive(result("door"))
    assert "door" in fleet.cameras
    assert "c0" in fleet.cameras
    assert "c1" not in fleet.cameras
    assert len(fleet.cameras.states()) == MAX_CAMERAS


def test_other_settings_are_no_event() -> None:
    fleet = Fleet()
    pets = (GroupScore(group="pet", confidence=0.8),)
    for _ in range(5):
        fleet.answer("cat", groups=pets)
    fleet.wait(1)
    settings = CameraSettings(stable=Stability(of="group"))
    fleet.cameras.receive_settings("door", settings.encode())
    state = fleet.state()
    assert (state.stable, state.stable_confidence, state.stable_since) == ("pet", 0.8, NOON)
    assert fleet.answer("cat", groups=pets) is None
    fleet.cameras.receive_settings("door", b"")
    assert fleet.state().stable == "cat"
    assert fleet.answer("cat", groups=pets) is None


def test_everything_is_bounded() -> None:
    """Anybody may write on an open broker."""
    fleet = Fleet()
    label = 250 * "x"
    top = tuple(Candidate(label=label, index=n, confidence=0.001) for n in range(1000))
    tracemalloc.start()
    for n in range(MAX_CAMERAS + 500):
        for frame in range(3):
            answer = result(f"c{n}", label, 0.001, frame_id=f"{frame}", top=top, worker=f"w{n}")
            fleet.cameras.receive(answer)
            fleet.cameras.worker_clocks.note(f"w{n}{frame}", NOON)
    fleet.published()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(fleet.cameras.states()) == MAX_CAMERAS
    assert taken < 30_000_000
    for n in range(1000):
        fleet.cameras.receive(result("c1", frame_id=f"more-{n}"))
    assert fleet.state("c1").frames == 1003


def test_a_sure_group_of_an_unsure_label_is_news() -> None:
    fleet = Fleet()
    sure = (GroupScore(group="cat", confidence=0.9),)
    events = [
        fleet.cameras.receive(result("door", confidence=0.3, groups=sure, frame_id=f"cat-{number}"))
        for number in range(4)
    ]
    assert [event and (event.label, event.group, event.confidence) for event in events] == [
        *(None, None),
        *(("none", "cat", 0.9), None),
    ]
