"""A frame's answer: the Result of its classification, or the Rejection for an error."""

from __future__ import annotations

import time
from typing import Any, Dict

from pydantic_core import to_json

from wire.lengths import MAX_LABELS, MAX_NAME, MAX_SENTENCE, MAX_SENTENCES
from wire.messages import Rejection, utc_now
from wire.printable import cut
from worker.delivery.frame import Frame
from worker.delivery.outbox import Answer
from worker.errors import FrameError
from worker.serving.job import Classified


def timings_of(frame: Frame, classified: Classified) -> Dict[str, float]:
    """Seconds that a frame has spent in each stage of its classification, by the stage."""
    return {
        "queue": classified.began - frame.received_ticks - classified.decode_seconds,
        "decode": classified.decode_seconds,
        "inference": classified.inference_seconds,
    }


def result_of(frame: Frame, classified: Classified, timings: Dict[str, float], worker_id: str) -> Answer:
    """The Result of a frame that a model has classified.

    It is written without a `wire.messages.Result`, which would check what was made here: a third of what an
    answer takes. The bytes are those that a Result of the same fields encodes to.
    """
    model = classified.model
    timings_ms = {stage: _milliseconds(seconds) for stage, seconds in timings.items()}
    timings_ms["total"] = _milliseconds(time.perf_counter() - frame.received_ticks)
    top = [
        {"label": model.classes[index][:MAX_NAME], "index": index, "confidence": confidence}
        for index, confidence in classified.best
    ]
    result: Dict[str, Any] = {
        "schema": 1,
        "frame_id": frame.frame_id,
        "camera": frame.camera,
        "worker": worker_id,
        "model": model.name,
        "weights": model.weights,
        **top[0],
        "top": top,
        "width": classified.width,
        "height": classified.height,
        "captured_at": frame.captured_at,
        "received_at": frame.received_at,
        "answered_at": utc_now(),
        "timings_ms": timings_ms,
        "batch_size": classified.batch_size,
        "complete": classified.complete,
        "labels": classified.seen and [label[:MAX_NAME] for label in classified.seen[:MAX_LABELS]],
        "groups": classified.groups
        and [{"group": group, "confidence": confidence} for group, confidence in classified.groups],
        "notes": frame.notes[:MAX_SENTENCES],
    }
    if classified.repeats is not None:
        result["repeats"] = classified.repeats
    return Answer(to_json(result))


def _milliseconds(seconds: float) -> float:
    """With three decimals; `round(…, 3)` takes more than twice as long."""
    return round(seconds * 1e6) / 1000


def rejection_of(frame: Frame, error: FrameError, worker_id: str) -> Answer:
    """The Rejection of a frame that cannot be classified."""
    rejection = Rejection(
        frame_id=frame.frame_id,
        camera=frame.camera,
        worker=worker_id,
        reason=error.reason,
        detail=cut(str(error), MAX_SENTENCE),
        received_at=frame.received_at,
    )
    return Answer(rejection.encode(), error.reason)
