"""Frames per second and memory of nanofleet as one thing grows, and the others stay.

cameras, payload, workers      with an engine that costs nothing: what is measured is the transport
window, batch                  with the first model
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

from bench.drive import Order
from bench.measure import Row, Say, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import Site, started
from bench.tiny import write_tiny
from bench.ways import fleet
from bench.weights import find_weights
from wire.errors import NanofleetError

AXES = ("cameras", "payload", "workers", "window", "batch")
#: Bytes.
PAYLOADS = (20_000, 100_000, 500_000, 2_000_000)


class Point(NamedTuple):
    """A thing that grows, how far, and what to run for it."""

    axis: str
    value: int
    start: Callable[[Site], Sequence[str]]
    order: Order


def points(size: str) -> List[Point]:
    """All that is measured."""
    thumbnail = Order(0, "thumbnail", payload=20_000)
    return [
        *(Point("cameras", n, _transport(1), replace(thumbnail, cameras=n)) for n in (1, 10, 100, 1000)),
        *(Point("payload", n, _transport(1), replace(thumbnail, payload=n)) for n in PAYLOADS),
        *(Point("workers", n, _transport(n), thumbnail) for n in (1, 2, 4)),
        *(Point("window", n, fleet(flags=("--window", n)), Order(0, size)) for n in (4, 8, 16, 32, 64)),
        *(Point("batch", n, fleet(flags=("--max-batch", n)), Order(0, size)) for n in (1, 4, 8, 16)),
    ]


def growth(settings: BenchSettings, say: Say, known: Sequence[Row]) -> Iterator[Row]:
    """Measure each point once a round."""
    rounds = max(1, settings.rounds - 1)
    for number, point in shuffled_rounds(points(settings.sizes[0]), rounds, settings.seed):
        say(f"growth, round {number + 1} of {rounds}: {point.axis} {point.value:,}")
        common = {"experiment": "growth", "round": number, "axis": point.axis, "value": point.value}
        try:
            with started(point.start, find_weights(settings.models[0])) as driver:
                yield {**common, **measure_for(driver, settings.seconds, point.order).row()}
        except NanofleetError as error:
            yield {**common, "error": str(error)}


def _transport(workers: int) -> Callable[[Site], Sequence[str]]:
    """nanofleet with an engine that costs nothing."""

    def start(site: Site) -> Tuple[str, ...]:
        port = site.mosquitto()
        site.workers(port, workers, *write_tiny(site.folder / "tiny"))
        return ("bench.drivers.publisher", f"mqtt://127.0.0.1:{port}", "bench")

    return start
