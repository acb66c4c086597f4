"""Frames per second, CPU and memory of each way, with `bench.drive.WINDOW` frames on their way."""

from __future__ import annotations

from typing import Iterator, List, Sequence, Tuple

from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import started
from bench.ways import WAYS, Way
from bench.weights import find_weights
from wire.errors import NanofleetError


def throughput(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each way with each model, and with the first model at each size."""
    ways = [way for way in WAYS if settings.chosen(way.name)]
    turns = [(model, way) for model in settings.models for way in ways]
    for number, turn in shuffled_rounds(turns, settings.rounds, settings.seed):
        yield from _turn(settings, notify, number, turn)


def _turn(settings: BenchSettings, notify: Notify, number: int, turn: Tuple[str, Way]) -> Iterator[Row]:
    model, way = turn
    sizes = settings.sizes if model == settings.models[0] else settings.sizes[:1]
    common = {"experiment": "throughput", "round": number, "model": model, "way": way.name}
    notify(f"throughput, round {number + 1} of {settings.rounds}: {way.name}, {model}")
    measured: List[Row] = []
    try:
        with started(way.start, find_weights(model)) as driver:
            for size in sizes:
                measurement = measure_for(driver, settings.seconds, Order(0, size))
                measured.append({**common, "size": size, **measurement.row()})
    except NanofleetError as error:
        measured.append({**common, "error": str(error)})
    yield from measured
