"""The rows that a table or plot is about."""

from __future__ import annotations

from typing import List, Sequence

from bench.measure import FPS, Row, rows_of, spread
from bench.ways import WAYS

LIMIT_B = "limit B"


def of_way(rows: Sequence[Row], model: str, size: str, way: str) -> List[Row]:
    """A way's throughput rows; `limit B` are those of its arrangement with the best median."""
    rows = rows_of(rows, experiment="throughput", model=model, size=size)
    if way != LIMIT_B:
        return rows_of(rows, way=way)
    arrangements = [rows_of(rows, way=w.name) for w in WAYS if w.name.startswith(LIMIT_B)]
    medians = [(found.median, part) for part in arrangements for found in [spread(part, FPS)] if found]
    return max(medians, key=lambda pair: pair[0])[1] if medians else []


def models_in(rows: Sequence[Row]) -> List[str]:
    """The models of the throughput rows, in a fixed order."""
    return sorted({row["model"] for row in rows_of(rows, experiment="throughput")})


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all is not above: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]
