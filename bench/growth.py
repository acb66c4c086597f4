"""Frames per second and memory of nanofleet as one thing grows, and the others stay.

cameras, payload, workers      with an engine that costs nothing: what is measured is the transport
window, batch                  with the first model
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Iterator, List, NamedTuple, Sequence

from bench.drive import Order
from bench.measure import Notify, Row, measure_for, shuffled_rounds
from bench.settings import BenchSettings
from bench.site import Start, started
from bench.transport import tiny_fleet
from bench.ways import fleet
from bench.weights import find_weights
from wire.errors import NanofleetError

AXES = ("cameras", "payload", "workers", "window", "batch")
#: Bytes.
PAYLOADS = (20_000, 100_000, 500_000, 2_000_000)


class Turn(NamedTuple):
    """A thing that grows, what to run for it, and an order for each value of it."""

    axis: str
    start: Start
    orders: Dict[int, Order]


def turns(size: str) -> List[Turn]:
    """All that is measured. Cameras share a fleet, so that as little as possible differs between them."""
    thumbnail, photo = Order(0, "thumbnail", payload=PAYLOADS[0]), Order(0, size)
    return [
        Turn("cameras", tiny_fleet(1), {n: replace(thumbnail, cameras=n) for n in (1, 10, 100, 1000)}),
        *(Turn("payload", tiny_fleet(1), {n: replace(thumbnail, payload=n)}) for n in PAYLOADS),
        *(Turn("workers", tiny_fleet(n), {n: thumbnail}) for n in (1, 2, 4)),
        *(Turn("window", fleet(flags=("--window", n)), {n: photo}) for n in (4, 8, 16, 32, 64)),
        *(Turn("batch", fleet(flags=("--max-batch", n)), {n: photo}) for n in (1, 4, 8, 16)),
    ]


def growth(settings: BenchSettings, notify: Notify, known: Sequence[Row]) -> Iterator[Row]:
    """Take each turn once a round; fewer rounds than throughput has, for there are many turns."""
    rounds = settings.few_rounds
    for number, turn in shuffled_rounds(turns(settings.sizes[0]), rounds, settings.seed):
        try:
            with started(turn.start, find_weights(settings.models[0])) as driver:
                for _, value in shuffled_rounds(list(turn.orders), 1, settings.seed + number):
                    notify(f"growth, round {number + 1} of {rounds}: {turn.axis} {value:,}")
                    row = measure_for(driver, settings.seconds, turn.orders[value]).row()
                    yield {"experiment": "growth", "round": number, "axis": turn.axis, "value": value, **row}
        except NanofleetError as error:
            yield {"experiment": "growth", "round": number, "axis": turn.axis, "error": str(error)}
