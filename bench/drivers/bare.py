"""What decoding and the engine take by themselves: in one thread, in batches as a CPU's worker takes them.

python -m bench.drivers.bare MODEL LABELS
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.decoding import decode
from bench.drive import Order, Outcome, serve
from wire.model_choice import ModelChoice
from worker.engines.select import best_batch, open_model


def main(model: str, labels: str) -> None:
    """Serve."""
    choice = ModelChoice(model=model, labels=Path(labels))
    size = best_batch(choice, "auto", "auto")
    with tempfile.TemporaryDirectory() as folder:
        opened, engine = open_model(
            choice, engine="auto", max_batch=size, weights_dir=Path(folder), race=True
        )
    engine.warm_up()
    recipe = opened.preprocessing

    def run(order: Order) -> Outcome:
        frames = order.jpegs()
        began = time.perf_counter()
        while True:
            batch = [decode(jpeg, recipe) for jpeg in itertools.islice(frames, size)]
            if not batch:
                return Outcome(time.perf_counter() - began, order.frames)
            engine.infer(np.stack(batch))

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
