"""A frame's answer: the Result of its classification, or the Rejection for an error."""

from __future__ import annotations

import time
from typing import Dict

from wire.lengths import MAX_LABELS, MAX_NAME, MAX_SENTENCE, MAX_SENTENCES
from wire.messages import Candidate, GroupScore, Rejection, Result, utc_now
from wire.printable import cut
from worker.delivery.frame import Frame
from worker.errors import FrameError
from worker.serving.job import Classified


def timings_of(frame: Frame, classified: Classified) -> Dict[str, float]:
    """Seconds that a frame has spent in each stage of its classification, by the stage."""
    return {
        "queue": classified.began - frame.received_ticks - classified.decode_seconds,
        "decode": classified.decode_seconds,
        "inference": classified.inference_seconds,
    }


def result_of(frame: Frame, classified: Classified, timings: Dict[str, float], worker_id: str) -> Result:
    """The Result of a frame that a model has classified."""
    model, labels = classified.model, classified.seen
    timings_ms = {stage: round(seconds * 1000, 3) for stage, seconds in timings.items()}
    timings_ms["total"] = round((time.perf_counter() - frame.received_ticks) * 1000, 3)
    top = tuple(
        Candidate(label=model.classes[index][:MAX_NAME], index=index, confidence=confidence)
        for index, confidence in classified.best
    )
    return Result(
        frame_id=frame.frame_id,
        camera=frame.camera,
        worker=worker_id,
        model=model.name,
        weights=model.weights,
        label=top[0].label,
        index=top[0].index,
        confidence=top[0].confidence,
        top=top,
        groups=classified.groups
        and tuple(GroupScore(group=group, confidence=confidence) for group, confidence in classified.groups),
        labels=labels and tuple(label[:MAX_NAME] for label in labels[:MAX_LABELS]),
        width=classified.width,
        height=classified.height,
        captured_at=frame.captured_at,
        received_at=frame.received_at,
        answered_at=utc_now(),
        timings_ms=timings_ms,
        batch_size=classified.batch_size,
        notes=frame.notes[:MAX_SENTENCES],
        complete=classified.complete,
        repeats=classified.repeats,
    )


def rejection_of(frame: Frame, error: FrameError, worker_id: str) -> Rejection:
    """The Rejection of a frame that cannot be classified."""
    return Rejection(
        frame_id=frame.frame_id,
        camera=frame.camera,
        worker=worker_id,
        reason=error.reason,
        detail=cut(str(error), MAX_SENTENCE),
        received_at=frame.received_at,
    )
