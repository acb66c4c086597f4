"""Images per second by batch size, of each engine that runs here; on CUDA also how busy the device is."""

from __future__ import annotations

from typing import Iterator, Sequence

from typing_extensions import get_args

from bench.drive import Order
from bench.measure import Notify, Row, frames_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import started
from bench.ways import forward
from bench.weights import find_weights
from wire.errors import NanofleetError
from worker.engines.base import EngineName


def engines(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each engine with each model."""
    # The first is `auto`.
    turns = [(engine, model) for engine in get_args(EngineName)[1:] for model in settings.models]
    for number, (engine, model) in shuffled_rounds(turns, settings.rounds, settings.seed):
        notify(f"engines, round {number + 1} of {settings.rounds}: {engine}, {model}")
        common = {"experiment": "engines", "round": number, "engine": engine, "model": model}
        try:
            with started(forward(engine), find_weights(model)) as driver:
                best = max(driver.run(Order(1)).notes["rates"].values())
                yield {**common, **driver.measure(Order(frames_for(best, settings.seconds))).row()}
        except NanofleetError as error:
            yield {**common, "error": str(error)}
