"""The rows that a table or plot is about."""

from __future__ import annotations

import statistics
from typing import List, Optional, Sequence

from bench.measure import Row, rows_of


def of_way(rows: Sequence[Row], model: str, size: str, way: str) -> List[Row]:
    """A way's throughput rows."""
    return rows_of(rows, experiment="throughput", model=model, size=size, way=way)


def models_in(rows: Sequence[Row]) -> List[str]:
    """The models of the throughput rows, in a fixed order."""
    return sorted({row["model"] for row in rows_of(rows, experiment="throughput")})


def paired(
    mine: Sequence[Row], others: Sequence[Row], figure: str, by: Sequence[str] = ("round",)
) -> List[float]:
    """How many times the others' figure mine is, in each round, or each turn of it, that both have."""
    pairs = []
    for row in (row for row in mine if figure in row):
        same = rows_of(others, **{key: row[key] for key in by})
        pairs += [row[figure] / other[figure] for other in same if figure in other]
    return pairs


def median_of(values: Sequence[float]) -> Optional[float]:
    """The median, or None of nothing."""
    return statistics.median(values) if values else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all is not above: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]
