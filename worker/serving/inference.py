"""The engine's threads: pixels in, what the model says of them out, as many at once as are ready.

DecoderPool ── decoded ──> Batcher ── batch ──> too late: out ──> Engine, when it has a turn ──> Job.done
                 └ no picture, or one with an earlier one's answer (`Job.repeat`): out
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Callable, Dict, Iterator, List, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from worker.decode.pool import Pixels
from worker.engines.base import top_k
from worker.errors import FrameError, NotANumber
from worker.metrics import Metrics
from worker.serving.batcher import Batcher
from worker.serving.job import Classified, Job
from worker.serving.loaded import LoadedModel, Work
from worker.settings import WorkerSettings


class Inference:
    """Runs decoded pictures through their model's engine."""

    def __init__(
        self, settings: WorkerSettings, metrics: Metrics, on_failure: Callable[[BaseException], None]
    ) -> None:
        """Take what runs batches; `running` starts it.

        Args:
            settings: the worker's.
            metrics: counts batches.
            on_failure: gets what ended a thread, if anything but `running`'s end did.
        """
        self._settings = settings
        self._metrics = metrics
        self._on_failure = on_failure
        self._batcher: Batcher[Tuple[Work, Pixels]] = Batcher(
            settings.max_batch, settings.max_delay, lambda first: first[0].loaded.expects_more
        )
        self._taking = threading.Lock()
        #: When each thread has begun its batch, by the thread.
        self._busy_since: Dict[int, float] = {}

    def decoded(self, work: Work, outcome: Union[Pixels, FrameError]) -> None:
        """Classify a picture as soon as the engine is free; from a decoder's thread."""
        if isinstance(outcome, FrameError):
            work.complete(outcome)
            self._batcher.look_again()
            return
        repeat = work.job.repeat(work.loaded.model, outcome)
        if repeat is None:
            self._batcher.put((work, outcome))
            return
        if self._is_fresh(work, outcome):
            outcome.release()
            work.complete(repeat)
        self._batcher.look_again()

    def count_close_calls(self, number: int) -> None:
        """Count pictures that float32 answered; see `worker.engines.close_calls`."""
        self._metrics.frames.close_calls.inc(number)

    def stalled_for(self) -> float:
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
        for loaded in {work.loaded: None for work, _ in fresh}:
            self._infer_by(loaded, [(work.job, pixels) for work, pixels in fresh if work.loaded is loaded])

    def _is_fresh(self, work: Work, pixels: Pixels) -> bool:
        try:
            work.job.check()
        except FrameError as error:
            pixels.release()
            work.complete(error)
            return False
        return True

    def _infer_by(self, loaded: LoadedModel, batch: List[Tuple[Job, Pixels]]) -> None:
        thread = threading.get_ident()
        with loaded.turn:
            began, self._busy_since[thread] = time.perf_counter(), time.monotonic()
            try:
                images = np.array([pixels.array for _, pixels in batch])  # `stack` takes twice as long
                for _, pixels in batch:
                    pixels.release()
                probabilities = loaded.engine.infer(images)
                loaded.progressed()
            finally:
                del self._busy_since[thread]
        self._metrics.frames.batch.observe(len(batch))
        self._complete(loaded, batch, probabilities, began)

    def _complete(
        self,
        loaded: LoadedModel,
        batch: List[Tuple[Job, Pixels]],
        probabilities: NDArray[np.float32],
        began: float,
    ) -> None:
        seconds = time.perf_counter() - began
        for (job, pixels), row in zip(batch, probabilities):
            try:
                best = top_k(row, self._settings.top_k)
            except NotANumber as error:
                loaded.complete(job, error)
                continue
            model = loaded.model
            groups = job.grouping.scores(model, row) if job.grouping else None
            classified = Classified(
                model,
                best,
                model.seen(row),
                groups,
                pixels.width,
                pixels.height,
                pixels.complete,
                began,
                pixels.decode_ms / 1000,
                seconds,
                len(batch),
            )
            loaded.complete(job, classified)
        for flush in {job.flush for job, _ in batch}:
            flush()
        for job, _ in batch:
            job.sent()
