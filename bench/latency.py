"""Latency of each way, at parts of its own throughput and at loads that are the same for all.

Arrivals are a Poisson process, and a frame's latency counts from when it was due, whatever held it up: a
client that waits for an answer before it sends the next frame would hide every queue (coordinated omission).
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence

from bench.drive import Order
from bench.measure import FPS, Notify, Row, measure_for, rows_of, shuffled_rounds, spread
from bench.settings import BenchSettings
from bench.site import started
from bench.sweep import best_starts, untried
from bench.ways import WAYS, Way, cores
from bench.weights import find_weights
from wire.errors import NanofleetError

#: Parts of a way's own throughput.
LOADS = (0.2, 0.5, 0.9)
#: Frames a second, for all ways that can answer them: with this much room.
RATES = (20.0, 50.0, 100.0, 150.0)
CARRIES = 0.95
#: A forward alone has no frames that wait.
_LEFT_OUT = "limit A"


def latency(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each way at each load, of the throughput in `known`, with the first model at the first size."""
    first = {"models": settings.models[:1], "sizes": settings.sizes[:1]}
    yield from untried(settings.model_copy(update=first), notify, known)
    ways = [way for way in WAYS if settings.chosen(way.name) and way.name != _LEFT_OUT]
    for number, way in shuffled_rounds(ways, settings.few_rounds, settings.seed):
        notify(f"latency, round {number + 1} of {settings.few_rounds}: {way.name}")
        common = {"experiment": "latency", "round": number, "way": way.name}
        try:
            for row in _turn(settings, number, way, known):
                yield {**common, **row}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def capacity_of(known: Sequence[Row], way: str, model: str, size: str) -> Optional[float]:
    """Frames per second that a way can do by its throughput's rows; None if there are none."""
    rates = spread(rows_of(known, experiment="throughput", way=way, model=model, size=size), FPS)
    return rates.median if rates else None


def loads_of(capacity: float) -> List[Dict[str, float]]:
    """The loads of a way that can do so many frames a second, as rows have them."""
    own = [{"load": load, "rate": load * capacity} for load in LOADS]
    return own + [{"at": rate, "rate": rate} for rate in RATES if rate <= CARRIES * capacity]


def _turn(settings: BenchSettings, number: int, way: Way, known: Sequence[Row]) -> Iterator[Row]:
    model, size = settings.models[0], settings.sizes[0]
    (setting,) = best_starts(known, way, model, [size])
    with started(way.starts(cores())[setting], find_weights(model)) as driver:
        now = measure_for(driver, settings.seconds, Order(0, size)).rate  # a warm-up in any case
        for load in loads_of(capacity_of(known, way.name, model, size) or now):
            frames = max(10, round(load["rate"] * 2 * settings.seconds))
            outcome = driver.run(Order(frames, size, rate=load["rate"], seed=settings.seed + number))
            yield {
                **{"size": size, "model": model, "setting": setting, **load, "frames": frames},
                "latencies_ms": [round(milliseconds, 2) for milliseconds in outcome.latencies_ms],
            }
