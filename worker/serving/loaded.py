"""A model at work: its engine, and the decoders that make the pixels it wants."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Dict, NamedTuple

from wire.model_choice import ModelChoice
from worker.decode.pool import DecoderPool
from worker.engines.base import Engine
from worker.engines.opened import Version, are_there_still
from worker.models.info import Model
from worker.serving.job import Job, Outcome


class LoadedModel:
    """A model with its engine, and the decoders that make the pixels it wants.

    A worker swaps from one to another between two pictures: each goes the whole way through the one that was
    serving when it came.
    """

    def __init__(
        self,
        choice: ModelChoice,
        files: Dict[Path, Version],
        model: Model,
        engine: Engine,
        decoders: DecoderPool[Work],
    ) -> None:
        """Put a loaded model at work.

        Args:
            choice: what was asked for.
            files: those it named, as they were before they were read.
            model: what came of it.
            engine: runs it.
            decoders: make its pixels.
        """
        #: What was asked for; `model` is what came of it.
        self.choice = choice
        self.model = model
        self._files = files
        self.engine = engine
        self.decoders = decoders
        #: Held while the engine runs: the worker's threads are as many as its first engine wanted.
        self.turn = threading.BoundedSemaphore(engine.at_once)
        self._lock = threading.Lock()
        self._in_work = 0
        self._progress = 0.0
        self._retired = False
        #: Set once it is retired and has no frame in work.
        self.idle = threading.Event()

    def is_of(self, choice: ModelChoice) -> bool:
        """Whether this is what a choice asks for, with files that have not been replaced since."""
        return self.choice == choice and are_there_still(self._files)

    @property
    def expects_more(self) -> bool:
        """On a CPU, which decoders and engine share, a full batch a moment later is the better use of it."""
        return self.engine.device == "cpu" and self.decoders.backlog > 0

    def submit(self, job: Job, image: bytes) -> None:
        """Have an image decoded and classified."""
        with self._lock:
            if not self._in_work:
                self._progress = time.monotonic()
            self._in_work += 1
        self.decoders.submit(Work(self, job), image, job.region)

    def complete(self, job: Job, outcome: Outcome) -> None:
        """A job is out of the decoders and the engine; from a thread of theirs."""
        with self._lock:
            self._in_work -= 1
            self._progress = time.monotonic()
            self._check_idle()
        job.done(outcome)

    def progressed(self) -> None:
        """Note that the engine has run a batch, however long it has waited for that."""
        with self._lock:
            self._progress = time.monotonic()

    def stalled_for(self) -> float:
        """Seconds for which there has been work, and none of it was done."""
        with self._lock:
            return time.monotonic() - self._progress if self._in_work else 0.0

    def retire(self) -> None:
        """Nothing will be submitted any more."""
        with self._lock:
            self._retired = True
            self._check_idle()

    def _check_idle(self) -> None:
        if self._retired and not self._in_work:
            self.idle.set()


class Work(NamedTuple):
    """The work of decoders and engine on one picture: a job, and the model that it is for."""

    loaded: LoadedModel
    job: Job

    def complete(self, outcome: Outcome) -> None:
        """See `LoadedModel.complete`: of a picture that is in no batch."""
        self.loaded.complete(self.job, outcome)
        self.job.flush()
        self.job.sent()
