"""One frame's path: it leaves by one answer, and is acked once the broker has that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.harness import wait_for
from tests.worker.path import RED, FramesPath
from tests.worker.serving.small import model
from wire.cameras import CameraSettings
from worker.errors import CorruptImage, Expired
from worker.serving.job import Classified, Job, Outcome, never


@pytest.fixture
def path(tmp_path: Path) -> Iterator[FramesPath]:
    made = FramesPath(tmp_path)
    with made.pipeline:
        yield made


def classified(batch_size: int = 1) -> Classified:
    return Classified(
        model(), [(1, 0.9), (0, 0.1)], None, None, 640, 480, True, 0.0, 0.002, 0.003, batch_size
    )


def complete(job: Job, outcome: Outcome) -> None:
    """As decoders and engine do with a picture that is alone."""
    job.done(outcome)
    job.flush()


def test_a_frame_is_acked_once_the_broker_has_its_result(path: FramesPath) -> None:
    path.receive(7, frame_id="first")
    assert path.models.images == [RED]
    complete(path.models.jobs[0], classified())
    assert not path.broker.published, "answers go out in the network thread"
    path.broker.run()
    (result,) = path.answers()
    assert (result.frame_id, result.label, result.worker, result.width) == ("first", "green", "w1", 640)
    assert set(result.timings_ms) == {"queue", "decode", "inference", "total"}
    assert path.acked == []
    path.puback(0)
    assert path.acked == [7]
    assert path.presence.answered == 1
    assert not path.unacked


def test_a_repeated_answer_says_whose_it_is_and_is_counted(path: FramesPath) -> None:
    def count(name: str, **labels: str) -> Any:
        return path.metrics.registry.get_sample_value(f"nanofleet_{name}", labels)

    path.receive(1, frame_id="first")
    path.receive(2, frame_id="second")
    complete(path.models.jobs[0], classified())
    complete(path.models.jobs[1], classified()._replace(repeats="first", inference_seconds=0.0))
    path.broker.run()
    first, second = path.answers()
    assert (first.frame_id, first.repeats) == ("first", None)
    assert (second.frame_id, second.repeats, second.label) == ("second", "first", first.label)
    assert second.timings_ms["inference"] == 0.0
    assert b"repeats" not in path.broker.published[0].payload
    assert count("repeated_frames_total") == 1
    assert count("stage_seconds_count", stage="inference") == 1
    assert count("stage_seconds_count", stage="decode") == 2


def test_only_the_jobs_of_still_cameras_ask_for_an_earlier_answer(path: FramesPath) -> None:
    path.receive(1, frame_id="first")
    path.cameras.receive("door", CameraSettings(skip_still=True).encode())
    path.receive(2, frame_id="second")
    path.cameras.receive("door", b"")
    path.receive(3, frame_id="third")
    assert [job.repeat is never for job in path.models.jobs] == [True, False, True]


def test_frames_are_acked_in_the_order_in_which_they_came(path: FramesPath) -> None:
    for mid in (1, 2, 3):
        path.receive(mid, frame_id=f"frame-{mid}")
    for job in reversed(path.models.jobs):
        complete(job, classified())
    path.broker.run()
    path.puback(0)
    path.puback(1)
    assert path.acked == []
    path.puback(2)
    assert path.acked == [1, 2, 3]


def test_a_batch_comes_back_in_one_call_once_it_is_whole(path: FramesPath) -> None:
    for mid in range(1, 5):
        path.receive(mid, frame_id=f"frame-{mid}")

    def infer() -> None:
        for job in path.models.jobs:
            job.done(classified(4))
            assert not path.broker.calls, "the network thread would take the first alone"
        (flush,) = {job.flush for job in path.models.jobs}
        flush()

    infer()
    assert path.broker.run() == 1
    assert [each.frame_id for each in path.answers()] == [f"frame-{mid}" for mid in range(1, 5)]
    path.receive(5, frame_id="later")
    complete(path.models.jobs[-1], classified())
    assert path.broker.run() == 1
    assert len(path.answers()) == 5


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"", "empty"), (b'{"image": 7}', "invalid_envelope"), (b"x" * 101, "payload_too_large")],
)
def test_what_no_model_can_take_is_rejected_at_once(payload: bytes, reason: str, tmp_path: Path) -> None:
    path = FramesPath(tmp_path, max_payload=100)
    with path.pipeline:
        path.receive(1, payload)
        assert not path.models.jobs
        (rejection,) = path.answers()
        assert rejection.reason.value == reason
        path.puback(0)
        assert path.acked == [1]


def test_what_the_decoders_reject_is_answered_so(path: FramesPath) -> None:
    def counted() -> Any:
        labels = {"outcome": "rejected", "reason": "corrupt_image"}
        return path.metrics.registry.get_sample_value("nanofleet_frames_total", labels)

    path.receive(1, frame_id="broken")
    complete(path.models.jobs[0], CorruptImage("broken off"))
    path.broker.run()
    (rejection,) = path.answers()
    assert (rejection.frame_id, rejection.reason.value) == ("broken", "corrupt_image")
    assert rejection.detail == "broken off"
    assert counted() == 0
    path.puback(0)
    assert counted() == 1


def test_one_that_is_delivered_again_goes_on_as_it_was(path: FramesPath) -> None:
    path.receive(1, frame_id="same")
    path.unacked.lost()
    path.unacked.connected(True)
    path.receive(9, frame_id="same", epoch=2)
    assert len(path.models.jobs) == 1
    complete(path.models.jobs[0], classified())
    path.broker.run()
    path.puback(0)
    assert path.acked == [9]


def test_a_frame_that_waits_too_long_for_the_engine_is_late(tmp_path: Path) -> None:
    path = FramesPath(tmp_path, max_age=["door=1"])
    with path.pipeline:
        path.receive(1)
        (job,) = path.models.jobs

        def is_late() -> bool:
            try:
                job.check()
            except Expired:
                return True
            return False

        wait_for(is_late, what="a frame that has become too old")


def test_the_next_frame_starts_when_one_has_its_answer(tmp_path: Path) -> None:
    path = FramesPath(tmp_path, max_batch=1, window=8, decoders=1)
    with path.pipeline:
        for mid in range(1, 7):
            path.receive(mid, frame_id=f"frame-{mid}")
        at_work = len(path.models.jobs)
        assert at_work == path.settings.at_work < 6
        complete(path.models.jobs[0], classified())
        path.broker.run()
        assert len(path.models.jobs) == at_work + 1
