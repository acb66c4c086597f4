"""A model of three classes whose engine computes next to nothing, and pictures for it."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import Iterator, List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.errors import FrameError
from worker.life import Life
from worker.metrics import Metrics
from worker.models.info import Model
from worker.serving.inference import Inference
from worker.serving.job import Classified, Job, Outcome
from worker.serving.loaded import LoadedModel, Work
from worker.settings import WorkerSettings

CLASSES = ("red", "green", "blue")
SIDE = 8


def png(color: Tuple[int, int, int]) -> bytes:
    """A small picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), color).save(file, "PNG")
    return file.getvalue()


def model(name: str = "small") -> Model:
    """Its three classes are the channels."""
    recipe = Preprocessing(resize=SIDE, crop=SIDE)
    return Model(name=name, weights="none", sha256="0" * 64, classes=CLASSES, preprocessing=recipe)


class ChannelEngine:
    """Says which channel of a picture is the brightest.

    Attributes:
        gate: a batch waits until it is set.
        batches: how many pictures each batch had.
    """

    name, device, why, at_once = "channels", "cpu", "the smallest", 1

    def __init__(self, swapped: bool = False) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: List[int] = []
        self._order = [1, 0, 2] if swapped else [0, 1, 2]

    def warm_up(self) -> None:
        """Nothing to do."""

    def infer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, H, W, 3] -> float32 [N, 3], which are NaN for a black picture."""
        self.batches.append(len(pixels))
        assert self.gate.wait(30)
        means = pixels.mean(axis=(1, 2), dtype=np.float32)[:, self._order]
        with np.errstate(invalid="ignore"):
            return (means / means.sum(axis=1, keepdims=True)).astype(np.float32)


class Asked:
    """A job, and what came of it."""

    def __init__(self, late: Optional[FrameError] = None) -> None:
        self.outcomes: List[Outcome] = []
        self.flushed = 0
        self.sent = threading.Event()
        self._late = late
        self.job = Job(check=self._check, done=self._done, flush=self._flush, sent=self.sent.set)

    def _check(self) -> None:
        if self._late is not None:
            raise self._late

    def _done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def _flush(self) -> None:
        self.flushed += 1

    def outcome(self) -> Outcome:
        """Wait for the only one, and until it is sent."""
        assert self.sent.wait(30)
        (only,) = self.outcomes
        return only

    def label(self) -> str:
        """Wait for it, and return its label."""
        outcome = self.outcome()
        assert isinstance(outcome, Classified), outcome
        return outcome.label


@contextlib.contextmanager
def serving(engine: ChannelEngine, settings: Optional[WorkerSettings] = None) -> Iterator[LoadedModel]:
    """A model at work, with real decoder processes and a thread for its engine."""
    from worker.decode.pool import DecoderPool

    life, settings = Life(), settings or WorkerSettings(max_batch=2)
    inference = Inference(settings, Metrics(), life.fail)
    decoders: DecoderPool[Work] = DecoderPool(
        model().preprocessing, processes=1, slots=4, on_done=inference.decoded, on_failure=life.fail
    )
    with decoders, inference.running(1):
        yield LoadedModel(ModelChoice(model="small"), {}, model(), engine, decoders)
    life.check()
