"""A model at work, and the former one beside it while the two are compared.

         frame
           ├──> Serving (new) ────> decoders, engine ──> Result
one at a time └> Serving (former) ─> decoders, engine ──> its label, counted as agreeing or not
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

from wire.model_choice import ModelChoice
from worker.decode.pool import DecoderPool, Pixels
from worker.engines.base import Engine
from worker.engines.onnx.files import files_of_onnx, is_onnx
from worker.engines.select import open_model
from worker.engines.trial import tried
from worker.errors import FrameError
from worker.frame import Frame
from worker.models.info import Model
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)


#: Of a file: its number, its size in bytes, and when it was written; None where there is none.
Version = Optional[Tuple[int, int, int]]


def files_of(choice: ModelChoice) -> Dict[Path, Version]:
    """The files that a choice names, and those that these name."""
    named: List[Path] = []
    for path in choice.files:
        named += files_of_onnx(path) if is_onnx(path.name) else [path]
    return {path: _version(path) for path in named}


def _version(path: Path) -> Version:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # not there, or of a name that no file can have
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


class Serving:
    """A model with its engine, and the decoders that make the pixels it wants.

    A worker swaps from one to another between two frames: each frame goes the whole way through the one
    that was serving when it came.
    """

    def __init__(
        self,
        choice: ModelChoice,
        files: Dict[Path, Version],
        model: Model,
        engine: Engine,
        decoders: DecoderPool[Work],
    ) -> None:
        """Args:
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
        return self.choice == choice and all(
            _version(path) == version for path, version in self._files.items()
        )

    def submit(self, job: Job, image: bytes) -> None:
        """Have an image decoded and classified; `done` must follow."""
        with self._lock:
            if not self._in_work:
                self._progress = time.monotonic()
            self._in_work += 1
        self.decoders.submit(Work(self, job), image)

    def done(self) -> None:
        """A job is out of the decoders and the engine."""
        with self._lock:
            self._in_work -= 1
            self._progress = time.monotonic()
            self._check_idle()

    def waiting(self) -> float:
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


class Comparison:
    """How often the former model says the same, on live frames taken one at a time.

    One at a time, so that comparing never costs more than one frame's work beside a batch.
    """

    def __init__(self, former: Serving) -> None:
        self.former = former
        self.compared = 0
        self.agreed = 0
        self._busy = False

    def take(self, frame: Frame) -> Optional[Shadow]:
        """Have the former model classify a frame too, if it is not at another one."""
        if self._busy:
            return None
        self._busy = True
        shadow = Shadow(self)
        self.former.submit(shadow, frame.image)
        return shadow

    def count(self, labels: List[str]) -> None:
        """Both have spoken."""
        self.compared += 1
        self.agreed += labels[0] == labels[1]
        self._busy = False

    def drop(self) -> None:
        """One of the two will never speak: the frame was rejected."""
        self._busy = False


@dataclass(eq=False)
class Shadow:
    """A frame's second way, through the former model. Nothing of it is published."""

    comparison: Comparison
    _labels: List[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, label: str) -> None:
        """One model's best label; in an engine's thread."""
        with self._lock:
            self._labels.append(label)
            both = len(self._labels) == 2
        if both:
            self.comparison.count(self._labels)


Job = Union[Frame, Shadow]


class Work(NamedTuple):
    """What goes through decoders and engine."""

    serving: Serving
    job: Job


def open_serving(
    choice: ModelChoice,
    settings: WorkerSettings,
    stop: threading.Event,
    *,
    on_done: Callable[[Work, Union[Pixels, FrameError]], None],
    on_failure: Callable[[BaseException], None],
) -> Serving:
    """Load a model into its engine, warm, with decoders that are not started yet.

    Args:
        choice: which model.
        settings: how it is to be served.
        stop: set to give up waiting for a trial or an export.
        on_done: gets what comes out of the decoders, in one of their threads.
        on_failure: gets what ended such a thread.

    Raises:
        NanofleetError: as `worker.engines.trial.tried` and `worker.engines.select.open_model` raise it.
    """
    how: Dict[str, Any] = {
        "engine": settings.engine,
        "device": settings.device,
        "max_batch": settings.max_batch,
        "weights_dir": settings.weights_dir,
        "stop": stop,
    }
    # A pin of a command may be that of whoever has put the file there.
    trusted = choice.sha256 is not None and choice == settings.choice
    with tried(choice, trusted=trusted, seconds=settings.trial_timeout, **how) as pinned:
        files = files_of(choice)
        model, engine = open_model(pinned, **how)
    engine.warm_up()
    log.info(
        "%s (%s), %d classes, by %s on %s: %s",
        model.name,
        model.weights,
        len(model.classes),
        engine.name,
        engine.device,
        engine.why,
    )
    decoders: DecoderPool[Work] = DecoderPool(
        model.preprocessing,
        processes=settings.decoder_count,
        slots=settings.at_work,
        timeout=settings.decoder_timeout,
        memory=settings.decoder_bytes,
        max_pixels=settings.max_pixels,
        exact=settings.decode == "exact",
        on_done=on_done,
        on_failure=on_failure,
    )
    return Serving(choice, files, model, engine, decoders)
