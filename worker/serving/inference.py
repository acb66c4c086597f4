"""The engine's threads: pixels in, Results out, as many at once as are ready.

DecoderPool ── put ──> Batcher ── batch ──> too old: out ──> Engine, when it has a turn ──> Results
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from wire.lengths import MAX_LABELS, MAX_NAME, MAX_SENTENCES
from wire.messages import Candidate, Result, utc_now
from worker.decode.pool import Pixels
from worker.engines.base import top_k
from worker.errors import FrameError, NotANumber
from worker.frame import Frame
from worker.metrics import Metrics
from worker.models.info import Model
from worker.serving.batcher import Batcher
from worker.serving.loaded import Job, Serving, Shadow, Work
from worker.settings import WorkerSettings


class Inference:
    """Runs decoded frames through their model's engine."""

    def __init__(
        self,
        settings: WorkerSettings,
        worker_id: str,
        metrics: Metrics,
        *,
        more_to_come: Callable[[], bool],
        on_results: Callable[[List[Tuple[Frame, Result]]], None],
        on_reject: Callable[[Work, FrameError], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Args:
        settings: the worker's.
        worker_id: stands in each Result.
        metrics: hears of batches and stages.
        more_to_come: whether a batch does well to wait for frames that are being decoded.
        on_results: gets the Results of a batch; in one of the engine's threads, as the next two.
        on_reject: gets what has become too old meanwhile, and what the model has no answer to.
        on_failure: gets what ended a thread, if anything but `running`'s end did.
        """
        self._settings = settings
        self._worker_id = worker_id
        self._metrics = metrics
        self._on_results = on_results
        self._on_reject = on_reject
        self._on_failure = on_failure
        self._batcher: Batcher[Tuple[Work, Pixels]] = Batcher(
            settings.max_batch, settings.max_delay, more_to_come
        )
        self._taking = threading.Lock()
        #: When each thread has begun its batch, by the thread.
        self._busy_since: Dict[int, float] = {}

    def put(self, work: Work, pixels: Pixels) -> None:
        """Classify a frame as soon as the engine is free; from any thread."""
        self._batcher.put((work, pixels))

    def waiting(self) -> float:
        """Seconds for which the engine has been at one batch."""
        began = list(self._busy_since.values())
        return time.monotonic() - min(began) if began else 0.0

    @contextlib.contextmanager
    def running(self, at_once: int) -> Iterator[None]:
        """Run the engine in threads of its own, so many (see `Engine.at_once`), while the block lasts."""
        threads = [
            threading.Thread(target=self._run, name=f"engine-{number}", daemon=True)
            for number in range(at_once)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._batcher.close()
            for thread in threads:
                thread.join(timeout=5)

    # --- in the engine's threads ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                with self._taking:  # one batch after the other is filled
                    batch = self._batcher.take()
                if not batch:
                    self._batcher.close()  # for the other threads
                    return
                self._infer(batch)
                del batch  # with it goes a model that has been changed meanwhile
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            self._on_failure(error)

    def _infer(self, batch: List[Tuple[Work, Pixels]]) -> None:
        fresh = [(work, pixels) for work, pixels in batch if self._is_fresh(work, pixels)]
        # While a model is changed, frames for the old one and frames for the new one come mixed.
        for serving in {work.serving: None for work, _ in fresh}:
            self._infer_by(serving, [(work.job, pixels) for work, pixels in fresh if work.serving is serving])

    def _is_fresh(self, work: Work, pixels: Pixels) -> bool:
        try:
            if isinstance(work.job, Frame):
                work.job.check_age(self._settings.max_age_of(work.job.camera))
        except FrameError as error:
            pixels.release()
            self._on_reject(work, error)
            return False
        return True

    def _infer_by(self, serving: Serving, batch: List[Tuple[Job, Pixels]]) -> None:
        with serving.turn, self._busy():
            began = time.perf_counter()
            images = np.stack([pixels.array for _, pixels in batch])
            for _, pixels in batch:
                pixels.release()
            probabilities = serving.engine.infer(images)
        inference = time.perf_counter() - began
        self._metrics.batch.observe(len(batch))
        results = []
        for (job, pixels), row in zip(batch, probabilities):
            try:
                best = top_k(row, self._settings.top_k)
            except NotANumber as error:
                self._on_reject(Work(serving, job), error)
                continue
            serving.done()
            if _counts_only(job, serving.model, best[0][0]):
                continue
            assert isinstance(job, Frame)
            queued = began - job.received - pixels.decode_ms / 1000
            timings = {"queue": queued, "decode": pixels.decode_ms / 1000, "inference": inference}
            for stage, seconds in timings.items():
                self._metrics.stages[stage].observe(seconds)
            timings["total"] = time.perf_counter() - job.received
            labels = serving.model.seen(row)
            results.append((job, self._result(job, serving.model, pixels, best, labels, timings, len(batch))))
        self._on_results(results)

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        thread = threading.get_ident()
        self._busy_since[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._busy_since[thread]

    def _result(
        self,
        frame: Frame,
        model: Model,
        pixels: Pixels,
        best: List[Tuple[int, float]],
        labels: Optional[Tuple[str, ...]],
        timings: Dict[str, float],
        batch_size: int,
    ) -> Result:
        top = tuple(
            Candidate(label=model.classes[index][:MAX_NAME], index=index, confidence=confidence)
            for index, confidence in best
        )
        return Result(
            frame_id=frame.frame_id,
            camera=frame.camera,
            worker=self._worker_id,
            model=model.name,
            weights=model.weights,
            label=top[0].label,
            index=top[0].index,
            confidence=top[0].confidence,
            top=top,
            labels=labels and tuple(label[:MAX_NAME] for label in labels[:MAX_LABELS]),
            width=pixels.width,
            height=pixels.height,
            captured_at=frame.captured_at,
            received_at=frame.received_at,
            answered_at=utc_now(),
            timings_ms={stage: round(seconds * 1000, 3) for stage, seconds in timings.items()},
            batch_size=batch_size,
            notes=frame.notes[:MAX_SENTENCES],
            complete=pixels.complete,
        )


def _counts_only(job: Job, model: Model, index: int) -> bool:
    """Tell a comparison the label, where there is one; whether that was all, as for a frame's second way."""
    shadow = job if isinstance(job, Shadow) else job.shadow
    if shadow is not None:
        shadow.hear(model.classes[index])
    return isinstance(job, Shadow)
