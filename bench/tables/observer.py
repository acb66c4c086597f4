"""What observing costs a worker."""

from __future__ import annotations

import statistics
from typing import Iterator, List, Sequence

from rich.table import Table

from bench.measure import FPS, Row, rows_of, spread
from bench.observer import ARRANGEMENTS, FIXED, FULL, OBSERVER_CPU, TARGET, WITHOUT, WORKER_CPU
from bench.rows import paired
from bench.tables.table import new_table

#: What ratios are of.
_OF = "of one that doesn't"


def observer(rows: Sequence[Row]) -> Iterator[Table]:
    """Frames a second at full load, and the CPU of the worker's process at the same load for all."""
    rows = rows_of(rows, experiment="observer")
    yield from _full_load(rows_of(rows, load=FULL))
    yield from _cpu(rows_of(rows, load=FIXED))


def _parts(rows: Sequence[Row], arrangement: str, figure: str) -> List[float]:
    without = rows_of(rows, arrangement=WITHOUT)
    return paired(rows_of(rows, arrangement=arrangement), without, figure, by=("round", "turn", "load"))


def _full_load(rows: Sequence[Row]) -> Iterator[Table]:
    title = f"Observing, at full load (target: >= {TARGET:g} of the frames/s)"
    table = new_table(title, "a worker that", "frames/s", _OF, "low - high")
    for name in ARRANGEMENTS:
        rate, parts = spread(rows_of(rows, arrangement=name), FPS), _parts(rows, name, FPS)
        if rate and parts:
            compared = [f"{statistics.median(parts):.3f}", f"{min(parts):.3f} - {max(parts):.3f}"]
            table.add_row(name, f"{rate.median:.1f}", *(compared if name != WITHOUT else ["", ""]))
    if table.row_count:
        yield table


def _cpu(rows: Sequence[Row]) -> Iterator[Table]:
    if not rows:
        return
    rate = statistics.median(row["rate"] for row in rows)
    title = f"Observing, at {rate:.0f} frames/s: CPU of the worker's process, ms/frame"
    table = new_table(title, "a worker that", "CPU", _OF, "its observer's", "of it")
    for name in ARRANGEMENTS:
        mine = rows_of(rows, arrangement=name)
        parts = _parts(rows, name, WORKER_CPU)
        if parts:
            # Means: the kernel tells a thread's time in steps of 10 ms.
            cpu, own = (statistics.mean(row[figure] for row in mine) for figure in (WORKER_CPU, OBSERVER_CPU))
            part = f"{statistics.median(parts):.3f}" if name != WITHOUT else ""
            table.add_row(name, f"{cpu:.2f}", part, f"{own:.3f}", f"{own / cpu:.1%}")
    if table.row_count:
        yield table
