"""Limit B: the worker's decoder processes, batcher and engine, without its connection, publisher and broker.

python -m bench.drivers.pipeline MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Tuple, Union

import numpy as np

from bench.drive import Load, Order, Outcome, serve
from wire.model_choice import ModelChoice
from worker.decode.pool import DecoderPool, Pixels
from worker.engines.base import Engine
from worker.engines.select import best_batch, open_model
from worker.errors import FrameError
from worker.serving.batcher import Batcher
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings()


class Pipeline:
    """The engine, in as many threads as it can make use of, and the order that runs."""

    load: Load

    def __init__(self, engine: Engine, max_batch: int) -> None:
        self._engine = engine
        self._batcher: Batcher[Tuple[int, Pixels]] = Batcher(max_batch, 0)
        for _ in range(engine.at_once):
            threading.Thread(target=self._infer, daemon=True).start()

    def run(self, order: Order, decoders: DecoderPool) -> Outcome:
        """See `bench.drive.Load`."""
        self.load = Load(order)
        return self.load.run(decoders.submit)

    def decoded(self, number: int, outcome: Union[Pixels, FrameError]) -> None:
        """A frame's pixels are there."""
        assert isinstance(outcome, Pixels), outcome
        self._batcher.put((number, outcome))

    def _infer(self) -> None:
        while True:
            batch = self._batcher.take()
            images = np.stack([pixels.array for _, pixels in batch])
            for _, pixels in batch:
                pixels.release()
            self._engine.infer(images)
            for number, _ in batch:
                self.load.done(number)


def main(model: str, weights_dir: str) -> None:
    """Serve."""
    choice = ModelChoice(model=model)
    max_batch = best_batch(choice, SETTINGS.engine, SETTINGS.device)
    opened, engine = open_model(
        choice, engine="auto", max_batch=max_batch, weights_dir=Path(weights_dir), race=True
    )
    engine.warm_up()
    pipeline = Pipeline(engine, max_batch)
    with DecoderPool(
        opened.preprocessing,
        processes=SETTINGS.decoder_count,
        slots=32,
        on_done=pipeline.decoded,
        on_failure=lambda error: os._exit(1),
    ) as decoders:
        serve(lambda order: pipeline.run(order, decoders))


if __name__ == "__main__":
    main(*sys.argv[1:])
