"""Frames per second, CPU and memory of each way, with `bench.drive.WINDOW` frames on their way."""

from __future__ import annotations

from typing import Iterator, Sequence

from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import started
from bench.sweep import best_starts, untried
from bench.ways import WAYS, Way, cores
from bench.weights import find_weights
from wire.errors import NanofleetError


def throughput(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each way with each model, and with the first model at each size, peers at their best."""
    yield from untried(settings, notify, known)
    ways = [way for way in WAYS if settings.chosen(way.name)]
    turns = [(model, way) for model in settings.models for way in ways]
    for number, (model, way) in shuffled_rounds(turns, settings.rounds, settings.seed):
        notify(f"throughput, round {number + 1} of {settings.rounds}: {way.name}, {model}")
        common = {"experiment": "throughput", "round": number, "model": model, "way": way.name}
        try:
            for row in _turn(settings, known, model, way):
                yield {**common, **row}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def _turn(settings: BenchSettings, known: Sequence[Row], model: str, way: Way) -> Iterator[Row]:
    for setting, sizes in best_starts(known, way, model, settings.sizes_of(model)).items():
        with started(way.starts(cores())[setting], find_weights(model)) as driver:
            for size in sizes:
                measured = measure_for(driver, settings.seconds, Order(0, size)).row()
                yield {"size": size, "setting": setting, **measured}
