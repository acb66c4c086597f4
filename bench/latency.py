"""Latency of each way at a part of its own throughput, with frames that come when they come.

Arrivals are a Poisson process, and a frame's latency counts from when it was due, whatever held it up: a
client that waits for an answer before it sends the next frame would hide every queue (coordinated omission).
"""

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from bench.drive import Order
from bench.measure import FPS, Notify, Row, measure_for, rows_of, shuffled_rounds, spread
from bench.settings import BenchSettings
from bench.site import started
from bench.ways import WAYS, Way
from bench.weights import find_weights
from wire.errors import NanofleetError

LOADS = (0.2, 0.5, 0.9)
#: A forward alone has no frames that wait, and a pipeline without a broker is shown once.
_LEFT_OUT = ("limit A", "limit B (threads)", "limit B (each)")


def latency(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each way at each load, of the throughput in `known`."""
    ways = [way for way in WAYS if settings.chosen(way.name) and way.name not in _LEFT_OUT]
    rounds = max(1, settings.rounds - 1)
    for number, way in shuffled_rounds(ways, rounds, settings.seed):
        notify(f"latency, round {number + 1} of {rounds}: {way.name}")
        try:
            yield from _turn(settings, number, way, known)
        except NanofleetError as error:
            yield {"experiment": "latency", "round": number, "way": way.name, "error": str(error)}


def capacity_of(known: Sequence[Row], way: str, model: str, size: str) -> Optional[float]:
    """Frames per second that a way can do by its throughput's rows; None if there are none."""
    rates = spread(rows_of(known, experiment="throughput", way=way, model=model, size=size), FPS)
    return rates.median if rates else None


def _turn(settings: BenchSettings, number: int, way: Way, known: Sequence[Row]) -> Iterator[Row]:
    model, size = settings.models[0], settings.sizes[0]
    with started(way.start, find_weights(model)) as driver:
        now = measure_for(driver, settings.seconds, Order(0, size)).rate  # a warm-up in any case
        capacity = capacity_of(known, way.name, model, size) or now
        for load in LOADS:
            rate = load * capacity
            frames = max(10, round(rate * 2 * settings.seconds))
            outcome = driver.run(Order(frames, size, rate=rate, seed=settings.seed + number))
            yield {
                **{"experiment": "latency", "round": number, "way": way.name, "size": size, "load": load},
                **{"model": model, "rate": rate, "frames": frames},
                "latencies_ms": [round(milliseconds, 2) for milliseconds in outcome.latencies_ms],
            }
