"""Still cameras: frames that hardly differ are answered without the model, through a real broker."""

from __future__ import annotations

from typing import Dict, List, Optional

from tests.end_to_end.commanding import USE_OTHER, models, start
from tests.fleets import Fleet
from tests.harness import Listener, wait_for
from tests.metrics import metric
from tests.worker.stills import jpeg, scene, with_cat
from wire.cameras import CameraSettings
from wire.messages import Result


def results(listener: Listener) -> Dict[str, Result]:
    """The results so far, by the frame's id; each frame has one."""
    found = [Result.decode(message.payload) for message in listener.on("") if "/results/" in message.topic]
    by_id = {result.frame_id: result for result in found}
    assert len(by_id) == len(found)
    return by_id


class Door:
    """A camera that sends one picture after the other, and waits for each answer."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._listener = fleet.listen("results/door")
        self.answers: List[Result] = []

    def see(self, image: bytes) -> Optional[str]:
        """Send a picture; returns the frame that its answer repeats."""
        frame_id = f"frame-{len(self.answers)}"
        self._fleet.send("door", image, frame_id)
        wait_for(lambda: frame_id in results(self._listener), what=f"the answer to {frame_id}")
        self.answers.append(results(self._listener)[frame_id])
        return self.answers[-1].repeats


def test_a_still_scene_is_classified_once_until_something_enters_it(fleet: Fleet) -> None:
    worker = fleet.worker("--skip-still")
    door, coffee = Door(fleet), scene("coffee.png")
    for number in range(6):
        door.see(jpeg(coffee, number, quality=(85, 60, 40)[number % 3]))
    assert [answer.repeats for answer in door.answers] == [None, *["frame-0"] * 5]
    first, *others = door.answers
    for answer in others:
        assert (answer.top, answer.groups) == (first.top, first.groups)
        assert (answer.timings_ms["inference"], answer.batch_size) == (0.0, 1)
    assert len({answer.answered_at for answer in door.answers}) == 6
    assert door.see(jpeg(with_cat(coffee, 0.02, (0.8, 0.2)), 6)) is None
    assert door.see(jpeg(with_cat(coffee, 0.02, (0.8, 0.2)), 7)) == "frame-6"
    wait_for(lambda: metric(worker, "nanofleet_frames_in_hand") == 0, what="all acks")
    assert metric(worker, "nanofleet_repeated_frames_total") == 6
    assert metric(worker, "nanofleet_frames_total", outcome="answered", reason="") == 8
    assert metric(worker, "nanofleet_stage_seconds_count", stage="inference") == 2


def test_settings_and_models_that_change_are_heeded_at_once(fleet: Fleet) -> None:
    start(fleet)
    door, coffee = Door(fleet), jpeg(scene("coffee.png"), 0)
    operator, topic = fleet.listen(), f"{fleet.root}/settings/cameras/door"
    assert [door.see(coffee) for _ in range(2)] == [None, None]
    operator.publish(topic, CameraSettings(skip_still=True).encode(), retain=True)
    wait_for(lambda: door.see(coffee) is not None, what="the first repeat")
    before = door.answers[-1]
    assert models(fleet, "use", *USE_OTHER).returncode == 0
    assert door.see(coffee) is None
    after = door.answers[-1]
    assert (after.model, after.label) != (before.model, before.label)
    assert door.see(coffee) == after.frame_id
    operator.publish(topic, b"", retain=True)
    wait_for(lambda: door.see(coffee) is None, what="the end of repeats")
    assert door.see(coffee) is None
