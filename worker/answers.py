"""What becomes of a frame's answer: published, counted, and the frame acked once the broker has it.

Result or FrameError ── network thread ──> Outbox ── PUBACK ──> published ──> Inbox.settle (ack, in order)
                                     └───> Admission.done: the next frame's turn
"""

from __future__ import annotations

import time
from typing import Callable, List, Tuple

from wire.lengths import MAX_SENTENCE
from wire.messages import Rejection, Result
from wire.printable import cut
from worker.delivery.outbox import Answer, Outbox
from worker.delivery.scheduler import Admission
from worker.errors import FrameError
from worker.frame import Frame
from worker.membership.status import Presence
from worker.membership.step_aside import Pacing
from worker.metrics import Metrics
from worker.serving.loaded import Shadow, Work


class Answers:
    """The answers of one worker.

    Attributes:
        outbox: publishes them; there once the worker has a connection.
    """

    outbox: Outbox

    def __init__(
        self,
        worker_id: str,
        *,
        admission: Admission,
        pacing: Pacing,
        presence: Presence,
        metrics: Metrics,
        call: Callable[[Callable[[], None]], None],
    ) -> None:
        """Args:
        worker_id: stands in each Rejection.
        admission: hears which frames are done.
        pacing: hears how many, and so how fast.
        presence: counts those that the broker has.
        metrics: the same, and how long they took.
        call: runs a function in the network thread.
        """
        self._worker_id = worker_id
        self._admission = admission
        self._pacing = pacing
        self._presence = presence
        self._metrics = metrics
        self._call = call

    def classified(self, results: List[Tuple[Frame, Result]]) -> None:
        """A batch has its Results; from any thread."""

        def put() -> None:
            for frame, result in results:
                self.outbox.put(frame, result)
                self._admission.done(frame)
            self._pacing.answered(len(results))

        if results:  # not so where all was for a comparison alone
            self._call(put)

    def failed(self, work: Work, error: FrameError) -> None:
        """A frame, or its second way, came to nothing in decoders or engine; from any thread."""
        work.serving.done()
        job = work.job
        if isinstance(job, Shadow):
            job.comparison.drop()
            return
        if job.shadow is not None:
            job.shadow.comparison.drop()
        self._call(lambda: self.reject(job, error))

    # --- in the network thread ----------------------------------------------------------------------

    def reject(self, frame: Frame, error: FrameError) -> None:
        """Answer a frame that cannot be classified."""
        rejection = Rejection(
            frame_id=frame.frame_id,
            camera=frame.camera,
            worker=self._worker_id,
            reason=error.reason,
            detail=cut(str(error), MAX_SENTENCE),
            received_at=frame.received_at,
        )
        self.outbox.put(frame, rejection)
        self._admission.done(frame)
        self._pacing.answered(1)

    def published(self, frame: Frame, answer: Answer, publishing: float) -> None:
        """An answer is with the broker, after so many seconds."""
        assert frame.inbox is not None
        frame.inbox.settle(frame)
        self._presence.answered += 1
        if isinstance(answer, Rejection):
            self._metrics.frames.labels("rejected", answer.reason.value).inc()
        else:
            self._metrics.frames.labels("answered", "").inc()
        self._metrics.stages["publish"].observe(publishing)
        self._metrics.stages["total"].observe(time.perf_counter() - frame.received)
        if frame.captured_at is not None:
            self._metrics.age.observe(max(0.0, frame.age()))
