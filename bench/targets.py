"""The ratios to be reached. Each compares figures of the same rounds, and is the median over them."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

from bench.measure import FPS, Row, rows_of
from bench.rows import median_of, of_way, paired
from bench.transport import ANSWERS, BY_THREAD, TRANSPORT, parts

#: Whom the others are held against.
NANOFLEET = "nanofleet"


class Target(NamedTuple):
    """How many times as many frames a second as some way nanofleet is to answer."""

    what: str
    way: str
    size: str
    bound: float


TARGETS = (
    Target("times mosec at its best", "mosec (our engine)", "480p", 1.05),
    Target("times mosec at its best", "mosec (our engine)", "1080p", 1.05),
    Target("times LitServe at its best", "LitServe (our engine)", "480p", 1.25),
    Target("times LitServe at its best", "LitServe (our engine)", "1080p", 1.25),
    Target("times LitServe's documented default", "LitServe (eager)", "480p", 6.0),
    Target("times mosec's documented default", "mosec (eager)", "480p", 6.0),
    Target("times Ray Serve's documented default", "Ray Serve (eager)", "480p", 6.0),
)
#: Milliseconds of CPU that the transport alone is to take a frame, at most, by the frame's bytes.
TRANSPORT_TARGETS = {57_000: 0.50, 230_000: 0.75}
CAMERAS_TARGET = 0.97


def times(rows: Sequence[Row], model: str, size: str, way: str) -> Optional[float]:
    """How many times a way's frames/s nanofleet's are, or None if one of them was not measured."""
    return median_of(paired(of_way(rows, model, size, NANOFLEET), of_way(rows, model, size, way), FPS))


def transport_cpu(rows: Sequence[Row], payload: int) -> Optional[float]:
    """Milliseconds of CPU a frame for the transport's parts together; None if they were not measured."""
    found = rows_of(rows, experiment="transport", payload=payload, way=ANSWERS)
    spent = [parts(row) for row in found if BY_THREAD in row]
    return median_of([sum(each[name] for name in TRANSPORT) for each in spent])


def cameras(rows: Sequence[Row]) -> Optional[float]:
    """The frames/s of a thousand cameras as a part of those of one."""
    few, many = (rows_of(rows, experiment="growth", axis="cameras", value=count) for count in (1, 1000))
    return median_of(paired(many, few, FPS))
