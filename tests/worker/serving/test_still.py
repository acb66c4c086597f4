"""Still cameras: what hardly differs from the camera's last classified picture is answered as that."""

from __future__ import annotations

import gc
import random
import threading
import tracemalloc
from typing import Iterator, List, Optional, Tuple

import numpy as np
import pytest

from tests.harness import wait_for
from tests.worker.serving.small import SIDE, Asked, ChannelEngine, png, serving
from tests.worker.stills import jpeg, scene
from wire.picture.region import WHOLE, Region
from worker.decode.pool import Pixels
from worker.errors import Expired, FrameError
from worker.models.info import Model
from worker.serving.comparison import Comparison
from worker.serving.groups import Grouping
from worker.serving.job import Classified, Outcome
from worker.serving.loaded import LoadedModel
from worker.serving.still import StillCameras

RED, GREEN, BLACK = png((255, 0, 0)), png((0, 255, 0)), png((0, 0, 0))
#: As red as a sensor's noise lets it be.
REDDISH = png((252, 2, 1))


class Camera:
    """Sends pictures of still cameras to a model, one after the other."""

    def __init__(self, loaded: LoadedModel, engine: ChannelEngine) -> None:
        self.loaded = loaded
        self.engine = engine
        self.stills = StillCameras()
        self._sent = 0

    def ask(
        self,
        image: bytes,
        camera: str = "door",
        *,
        late: Optional[FrameError] = None,
        region: Region = WHOLE,
        grouping: Optional[Grouping] = None,
        comparison: Optional[Comparison] = None,
    ) -> Asked:
        """Send a picture, whose frame's id is its number, counted from 1."""
        asked = Asked(late)
        self._sent += 1
        asked.job = asked.job._replace(region=region, grouping=grouping)
        job = self.stills.take(asked.job, camera, str(self._sent))
        if comparison is not None:
            job = comparison.take(job, image)
        self.loaded.submit(job, image)
        return asked

    def see(self, image: bytes, camera: str = "door", **how: object) -> Tuple[str, Optional[str]]:
        """Send a picture, and return its label and the frame that it repeats."""
        outcome = self.ask(image, camera, **how).outcome()  # type: ignore[arg-type]
        assert isinstance(outcome, Classified), outcome
        return outcome.label, outcome.repeats

    @property
    def classified(self) -> int:
        """Pictures that the engine has seen."""
        return sum(self.engine.batches)


@pytest.fixture
def camera() -> Iterator[Camera]:
    engine = ChannelEngine()
    with serving(engine) as loaded:
        yield Camera(loaded, engine)


def test_a_still_picture_has_the_last_ones_answer_without_the_engine(camera: Camera) -> None:
    first = camera.ask(RED).outcome()
    second = camera.ask(REDDISH).outcome()
    assert isinstance(first, Classified)
    assert isinstance(second, Classified)
    assert (first.repeats, second.repeats) == (None, "1")
    assert (second.best, second.groups, second.seen) == (first.best, first.groups, first.seen)
    assert (second.inference_seconds, second.batch_size, second.complete) == (0.0, 1, True)
    assert second.decode_seconds > 0
    assert second.began > first.began
    assert camera.classified == 1
    assert camera.loaded.stalled_for() == 0.0


def test_another_picture_is_classified_and_the_next_ones_are_as_that(camera: Camera) -> None:
    seen = [camera.see(picture) for picture in (RED, RED, GREEN, GREEN, RED)]
    assert seen == [("red", None), ("red", "1"), ("green", None), ("green", "3"), ("red", None)]


def test_each_camera_has_its_own_last_picture(camera: Camera) -> None:
    assert camera.see(RED, "door") == ("red", None)
    assert camera.see(RED, "garden") == ("red", None)
    assert camera.see(RED, "door") == ("red", "1")


def test_a_slow_change_is_seen(camera: Camera) -> None:
    """Each picture is like the one before it, and none is compared with that."""
    seen = [camera.see(png((200, red, 0))) for red in range(0, 60, 3)]
    assert len([repeats for _, repeats in seen if repeats is None]) > 2


def test_an_answer_is_repeated_for_so_long_and_no_longer(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [camera.see(RED) for _ in range(2)] == [("red", None), ("red", "1")]
    monkeypatch.setattr("worker.serving.still.MOST_SECONDS", -1.0)
    assert camera.see(RED) == ("red", None)
    monkeypatch.undo()
    assert camera.see(RED) == ("red", "3")


def test_repeats_do_not_make_an_answer_younger(camera: Camera) -> None:
    camera.see(RED)
    last = camera.stills.last("door")
    camera.see(RED)
    assert camera.stills.last("door") is last


def test_another_region_or_other_groups_are_another_question(camera: Camera) -> None:
    groups = Grouping({"warm": ("red",)}, "door")
    assert camera.see(RED) == ("red", None)
    assert camera.see(RED, region=(0.0, 0.0, 0.5, 0.5)) == ("red", None)
    assert camera.see(RED, region=(0.0, 0.0, 0.5, 0.5)) == ("red", "2")
    assert camera.see(RED, grouping=groups) == ("red", None)
    assert camera.see(RED, grouping=groups) == ("red", "4")
    assert camera.see(RED, grouping=Grouping({"warm": ("red",)}, "door")) == ("red", None)


def test_another_model_classifies_anew(camera: Camera) -> None:
    assert camera.see(RED) == ("red", None)
    swapped = ChannelEngine(swapped=True)
    with serving(swapped) as other:
        camera.loaded = other
        assert camera.see(RED) == ("green", None)
        assert camera.see(RED) == ("green", "2")
    assert (camera.classified, sum(swapped.batches)) == (1, 1)


def test_pictures_that_two_models_are_compared_by_are_classified_by_both(camera: Camera) -> None:
    former = ChannelEngine()
    with serving(former) as before:
        comparison = Comparison(before)
        for count in (1, 2, 3):
            assert camera.see(RED, comparison=comparison) == ("red", None)
            wait_for(lambda count=count: comparison.compared == count, what="the former model's label")
    assert (camera.classified, sum(former.batches)) == (3, 3)


@pytest.mark.parametrize("image", [b"no picture", BLACK], ids=["no picture", "no answer"])
def test_after_a_rejection_the_next_picture_is_classified(camera: Camera, image: bytes) -> None:
    camera.see(RED)
    assert isinstance(camera.ask(image).outcome(), FrameError)
    assert camera.see(RED) == ("red", None)


def test_what_comes_too_late_is_no_repeat_and_changes_nothing(camera: Camera) -> None:
    """Where there are too many frames, repeating is what helps."""
    camera.see(RED)
    late = Expired("too old")
    asked = camera.ask(RED, late=late)
    assert asked.outcome() is late
    assert camera.see(RED) == ("red", "1")
    wait_for(lambda: asked.flushed == 1, what="its end")


def test_a_picture_with_a_part_missing_neither_repeats_nor_is_repeated(camera: Camera) -> None:
    whole = jpeg(scene("coffee.png"), 0)
    cut_off = whole[: -len(whole) // 30]
    first = camera.ask(cut_off).outcome()
    assert isinstance(first, Classified)
    assert not first.complete
    seen = [camera.see(picture)[1] for picture in (whole, whole, cut_off, whole)]
    assert seen == [None, "2", None, None]


def test_so_many_cameras_are_kept_those_seen_last(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.serving.still.MOST_CAMERAS", 2)
    for name in ("a", "b", "a", "c"):
        camera.see(RED, name)
    assert camera.see(RED, "a") == ("red", "1")
    assert camera.see(RED, "b") == ("red", None)


def test_a_picture_does_not_repeat_what_is_not_sent_yet(camera: Camera) -> None:
    """Else its Result could come before the one that it names: that waits for the others of its batch."""
    held, looked, free = threading.Event(), threading.Event(), threading.Event()

    def hold(outcome: Outcome) -> None:
        held.set()
        assert free.wait(30)

    camera.engine.gate.clear()
    blocking = camera.ask(GREEN, "elsewhere")
    wait_for(lambda: camera.engine.batches == [1], what="the engine's being busy")
    first, other = camera.ask(RED, "door"), Asked()
    camera.loaded.submit(other.job._replace(done=hold), GREEN)
    camera.ask(b"no picture", "elsewhere").outcome()  # the two are decoded, and so the next batch
    camera.engine.gate.set()
    assert held.wait(30)
    assert (len(first.outcomes), first.flushed) == (1, 0)

    again = Asked()
    job = camera.stills.take(again.job, "door", "again")

    def look(model: Model, pixels: Pixels) -> Optional[Classified]:
        try:
            return job.repeat(model, pixels)
        finally:
            looked.set()

    camera.loaded.submit(job._replace(repeat=look), RED)
    assert looked.wait(30)
    free.set()
    outcomes = [each.outcome() for each in (blocking, first, again)]
    assert [each.repeats for each in outcomes if isinstance(each, Classified)] == [None, None, None]
    assert camera.see(RED) == ("red", "again")


def test_a_thousand_classes_take_little_to_keep(camera: Camera) -> None:
    first = camera.ask(RED).outcome()
    assert isinstance(first, Classified)
    pixels = Pixels(np.zeros((SIDE, SIDE, 3), np.uint8), 640, 480, 1.0, lambda: None)
    tracemalloc.start()
    try:
        for number in range(50):
            job = camera.stills.take(Asked().job, f"camera-{number}", "first")
            assert job.repeat(first.model, pixels) is None
            job.done(first._replace(best=[(index, index / 1024) for index in range(1000)]))
            job.sent()
        del job
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] / 50 < 32_000
    finally:
        tracemalloc.stop()
    repeated = camera.stills.take(Asked().job, "camera-0", "second").repeat(first.model, pixels)
    assert repeated is not None
    assert repeated.best == [(index, index / 1024) for index in range(1000)]


def test_each_frame_has_one_answer_and_the_right_one(camera: Camera) -> None:
    """Whatever comes between whatever, many at once: repeats, changes, no pictures, too late ones."""
    choice = random.Random(7)
    pictures = {"red": RED, "green": GREEN}
    sent: List[Tuple[Asked, str]] = []
    for _ in range(300):
        name = choice.choice(["door", "garden"])
        if choice.random() < 0.1:
            sent.append((camera.ask(b"no picture", name), ""))
        elif choice.random() < 0.1:
            sent.append((camera.ask(RED, name, late=Expired("too old")), ""))
        else:
            label = choice.choice(["red", "red", "red", "green"])
            sent.append((camera.ask(pictures[label], name), label))
    repeated = 0
    for asked, label in sent:
        outcome = asked.outcome()
        if isinstance(outcome, Classified):
            assert outcome.label == label
            repeated += outcome.repeats is not None
        else:
            assert label == ""
    wait_for(lambda: all(asked.flushed == 1 for asked, _ in sent), what="each one's end")
    assert camera.loaded.stalled_for() == 0.0
    right = len([label for _, label in sent if label])
    assert 0 < repeated == right - camera.classified


def test_a_batch_does_not_wait_for_a_picture_that_is_repeated(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.serving.batcher.MAX_WAIT_SECONDS", 3600.0)
    for picture in (RED, b"no picture"):
        camera.see(RED)
        asked = [camera.ask(GREEN, "garden"), camera.ask(picture), camera.ask(picture)]
        for each in asked:
            each.outcome()
