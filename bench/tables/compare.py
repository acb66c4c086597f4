"""This checkout beside another one."""

from __future__ import annotations

import statistics
from typing import Iterator, List, Sequence

from rich.table import Table

from bench.compare import OTHER, THIS
from bench.measure import CPU, FPS, Row, rows_of, spread
from bench.rows import paired
from bench.tables.table import new_table
from bench.tables.ways import parts, sizes_in


def compare(rows: Sequence[Row]) -> Iterator[Table]:
    """Frames a second and CPU of both, and the ratios of turns next to each other."""
    rows = [row for row in rows_of(rows, experiment="compare") if FPS in row]
    for model in sorted({row["model"] for row in rows}):
        for size in sizes_in(rows_of(rows, model=model)):
            yield _table(
                rows_of(rows, model=model, size=size), f"{model}, {size}: this checkout beside another"
            )


def _table(rows: Sequence[Row], title: str) -> Table:
    columns = ("frames/s", "ratio", "low - high", "CPU ms/frame", "ratio", "low - high")
    table = new_table(title, "checkout", *columns, "server", "broker", "load")
    others = rows_of(rows, tree=OTHER)
    for tree in (OTHER, THIS):
        mine = rows_of(rows, tree=tree)
        rate, cpu = spread(mine, FPS), spread(mine, CPU)
        if rate and cpu:
            cells = [f"{rate.median:.1f}", *_ratios(mine, others, FPS)]
            cells += [f"{cpu.median:.2f}", *_ratios(mine, others, CPU)]
            table.add_row(f"{tree}: {mine[0]['commit']}", *cells, *parts(mine))
    return table


def _ratios(mine: Sequence[Row], others: Sequence[Row], figure: str) -> List[str]:
    ratios = paired(mine, others, figure, by=("round", "turn"))
    if mine == others or not ratios:
        return ["", ""]
    return [f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} - {max(ratios):.3f}"]
