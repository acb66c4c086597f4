"""Limit B: decode, preprocess, forward, without a broker. Of three arrangements, the best is the limit.

    processes   decoder processes ──> Batcher ──> engine      as the worker has it
    threads     decoder threads ────> Batcher ──> engine
    each        a thread a core: takes what waits, decodes it, runs it in a one-thread session of its own

python -m bench.drivers.pipeline ARRANGEMENT MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Callable, Iterator, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from bench.drive import Load, Order, Outcome, serve
from wire.model_choice import ModelChoice
from worker.decode.image import decode
from worker.decode.pool import DecoderPool, Pixels
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine
from worker.engines.select import best_batch, open_model
from worker.errors import FrameError
from worker.serving.batcher import Batcher
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings()

Submit = Callable[[int, bytes], None]


class Pipeline:
    """What the three arrangements share: the order that runs, and what it hears."""

    load: Load

    def __init__(self, choice: ModelChoice) -> None:
        self.max_batch = best_batch(choice, SETTINGS.engine, SETTINGS.device)

    def run(self, order: Order, submit: Submit) -> Outcome:
        """See `bench.drive.Load`."""
        self.load = Load(order)
        return self.load.run(submit)


def pixels_of(jpeg: bytes, recipe: Preprocessing) -> NDArray[np.uint8]:
    """uint8 [crop, crop, 3]."""
    decoded = decode(jpeg, recipe)
    return np.frombuffer(decoded.pixels, np.uint8).reshape(recipe.shape)


def start_engine(engine: Engine, infer: Callable[[], None]) -> None:
    """Run the engine in as many threads as it can make use of."""
    for _ in range(engine.at_once):
        threading.Thread(target=infer, daemon=True).start()


@contextlib.contextmanager
def processes(pipeline: Pipeline, recipe: Preprocessing, engine: Engine) -> Iterator[Submit]:
    """The worker's own parts, without its connection."""
    batcher: Batcher[Tuple[int, Pixels]] = Batcher(pipeline.max_batch, 0)

    def decoded(number: int, outcome: Union[Pixels, FrameError]) -> None:
        assert isinstance(outcome, Pixels), outcome
        batcher.put((number, outcome))

    def infer() -> None:
        while True:
            batch = batcher.take()
            images = np.stack([pixels.array for _, pixels in batch])
            for _, pixels in batch:
                pixels.release()
            engine.infer(images)
            for number, _ in batch:
                pipeline.load.done(number)

    start_engine(engine, infer)
    with DecoderPool(
        recipe,
        processes=SETTINGS.decoder_count,
        slots=32,
        on_done=decoded,
        on_failure=lambda error: os._exit(1),
    ) as decoders:
        yield decoders.submit


@contextlib.contextmanager
def threads(pipeline: Pipeline, recipe: Preprocessing, engine: Engine) -> Iterator[Submit]:
    """Pillow lets other threads run while it decodes, and so does the engine."""
    batcher: Batcher[Tuple[int, NDArray[np.uint8]]] = Batcher(pipeline.max_batch, 0)

    def infer() -> None:
        while True:
            batch = batcher.take()
            engine.infer(np.stack([image for _, image in batch]))
            for number, _ in batch:
                pipeline.load.done(number)

    start_engine(engine, infer)

    def decode_one(number: int, jpeg: bytes) -> None:
        batcher.put((number, pixels_of(jpeg, recipe)))

    with concurrent.futures.ThreadPoolExecutor(_cores()) as pool:

        def submit(number: int, jpeg: bytes) -> None:
            pool.submit(decode_one, number, jpeg)

        yield submit


@contextlib.contextmanager
def each(pipeline: Pipeline, recipe: Preprocessing, path: Path) -> Iterator[Submit]:
    """No thread waits for another: each goes the whole way."""
    import onnxruntime

    batcher: Batcher[Tuple[int, bytes]] = Batcher(pipeline.max_batch, 0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def work() -> None:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        while True:
            batch = batcher.take()
            session.run(None, {name: np.stack([pixels_of(jpeg, recipe) for _, jpeg in batch])})
            for number, _ in batch:
                pipeline.load.done(number)

    for _ in range(_cores()):
        threading.Thread(target=work, daemon=True).start()
    yield lambda number, jpeg: batcher.put((number, jpeg))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def main(arrangement: str, model: str, weights_dir: str) -> None:
    """Serve in one of the arrangements."""
    choice, folder = ModelChoice(model=model), Path(weights_dir)
    pipeline = Pipeline(choice)
    with contextlib.ExitStack() as stack:
        if arrangement == "each":
            from worker.engines.exports.cache import exported

            opened, path = exported(choice, folder)
            submit = stack.enter_context(each(pipeline, opened.preprocessing, path))
        else:
            opened, engine = open_model(
                choice, engine="auto", max_batch=pipeline.max_batch, weights_dir=folder
            )
            engine.warm_up()
            arrange = {"processes": processes, "threads": threads}[arrangement]
            submit = stack.enter_context(arrange(pipeline, opened.preprocessing, engine))
        serve(lambda order: pipeline.run(order, submit))


if __name__ == "__main__":
    main(*sys.argv[1:])
