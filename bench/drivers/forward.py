"""Limit A: the engine's forward alone, on pixels that are ready, with the batch that suits it best.

python -m bench.drivers.forward ENGINE MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import concurrent.futures
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.drive import Order, Outcome, serve
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, EngineName
from worker.engines.select import open_model

BATCHES = (1, 2, 4, 8, 16, 32)


def forwards(engine: Engine, images: NDArray[np.uint8], seconds: float = 0.0, frames: int = 0) -> float:
    """Images a second in batches like this one, for so many seconds or frames at least.

    In as many threads at a time as the engine can make use of.
    """
    began = time.perf_counter()

    def run(number: int) -> int:
        done = 0
        while done * engine.at_once < frames or time.perf_counter() - began < seconds:
            engine.infer(images)
            done += len(images)
        return done

    with concurrent.futures.ThreadPoolExecutor(engine.at_once) as pool:
        done = sum(pool.map(run, range(engine.at_once)))
    return done / (time.perf_counter() - began)


def main(name: EngineName, model: str, weights_dir: str) -> None:
    """Find the best batch, then serve."""
    recipe, engine = open_model(
        ModelChoice(model=model),
        engine=name,
        max_batch=max(BATCHES),
        weights_dir=Path(weights_dir),
        race=True,
    )
    engine.warm_up()
    crop = recipe.preprocessing.crop
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), crop, crop, 3)).astype(np.uint8)
    for batch in BATCHES:
        engine.infer(images[:batch])
    rates = {batch: forwards(engine, images[:batch], seconds=0.3) for batch in BATCHES}
    best = max(rates, key=rates.__getitem__)
    notes = {"batch": best, "engine": engine.name, "device": engine.device, "rates": rates}

    def run(order: Order) -> Outcome:
        rate = forwards(engine, images[:best], frames=order.frames)
        return Outcome(order.frames / rate, order.frames, notes=notes)

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
