"""Rounds: every way once, in an order of its own each time, so that a noisy machine can favour nobody.

shuffled(ways) ──> started(way) ──> warm up, measure, measure, … ──> rows of plain numbers
"""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from bench.drive import WINDOW, Order
from bench.settings import BenchSettings
from bench.site import Driver, Measurement

T = TypeVar("T")
Row = Dict[str, Any]
#: Shows what is measured now.
Notify = Callable[[str], None]

#: Frames that are sent before any is measured.
WARM_UP = 48
#: Frames per second in a row.
FPS = "frames_per_second"
#: Milliseconds of all processes in it, but the driver's.
CPU = "cpu_ms_per_frame"


class Spread(NamedTuple):
    """A figure over the rounds."""

    median: float
    lowest: float
    highest: float


def shuffled_rounds(items: Sequence[T], rounds: int, seed: int) -> Iterator[Tuple[int, T]]:
    """Each item once a round, and the round's number; the order differs from round to round."""
    order = random.Random(seed)
    for number in range(rounds):
        shuffled = list(items)
        order.shuffle(shuffled)
        for item in shuffled:
            yield number, item


def frames_for(rate: float, seconds: float) -> int:
    """Frames that take so long at this rate: at least enough to fill the window, so that ways can batch."""
    return max(WINDOW, round(rate * seconds))


def warmed_up(driver: Driver, seconds: float, order: Order) -> Order:
    """Warm up, for a fifth of the time at least; returns the order with frames that take about so long."""
    frames = WARM_UP
    warm_up = driver.run(replace(order, frames=frames))
    while warm_up.seconds < seconds / 5:
        frames *= 4
        warm_up = driver.run(replace(order, frames=frames))
    return replace(order, frames=frames_for(warm_up.answered / warm_up.seconds, seconds))


def measure_for(driver: Driver, seconds: float, order: Order) -> Measurement:
    """Warm up, then measure for about so many seconds."""
    return driver.measure(warmed_up(driver, seconds, order))


def quick(settings: BenchSettings) -> BenchSettings:
    """The settings of a run that only shows that all works."""
    models, sizes = settings.models[:1], settings.sizes[:1]
    return settings.model_copy(update={"rounds": 1, "seconds": 1.0, "models": models, "sizes": sizes})


def rows_of(rows: Sequence[Row], **wanted: Any) -> List[Row]:
    """Those rows whose fields have these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def spread(rows: Sequence[Row], figure: str) -> Optional[Spread]:
    """A figure's spread over rows, or None if none of them has it."""
    values = [row[figure] for row in rows if figure in row]
    return Spread(statistics.median(values), min(values), max(values)) if values else None
