"""What becomes of answers and settings: the states, and when they are due."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta

from tests.fleet.members import rejection, result
from tests.fleet.observer.watched import NOON, Fleet
from wire.camera_settings import MAX_CAMERAS
from wire.cameras import NONE, CameraEvent, CameraSettings, Stability
from wire.messages import Candidate, GroupScore, Reason


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
