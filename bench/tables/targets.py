"""Whether the targets are reached."""

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from rich.table import Table

from bench.measure import Row
from bench.rows import models_in
from bench.tables.table import new_table
from bench.targets import CAMERAS_TARGET, TARGETS, TRANSPORT_TARGETS, cameras, times, transport_cpu


def targets(rows: Sequence[Row]) -> Iterator[Table]:
    """Those that something was measured for. What no model decides is told in the first column of them."""
    models = models_in(rows)
    table = new_table("Targets", "what", "at", "target", *(models or ["measured"]))
    for target in TARGETS:
        found = [times(rows, model, target.size, target.way) for model in models]
        if any(found):
            cells = [_verdict(value, at_least=target.bound) for value in found]
            table.add_row(target.what, target.size, f">= {target.bound:g}", *cells)
    for payload, bound in TRANSPORT_TARGETS.items():
        spent = transport_cpu(rows, payload)
        if spent is not None:
            cell = _verdict(spent, at_most=bound)
            table.add_row("the transport alone, CPU ms/frame", f"{payload // 1000} kB", f"<= {bound:g}", cell)
    share = cameras(rows)
    if share is not None:
        cell = _verdict(share, at_least=CAMERAS_TARGET)
        table.add_row("at 1,000 cameras, of 1 camera", "thumbnails", f">= {CAMERAS_TARGET:g}", cell)
    if table.row_count:
        yield table


def _verdict(value: Optional[float], at_least: float = float("-inf"), at_most: float = float("inf")) -> str:
    if value is None:
        return ""
    return f"{value:.2f} {'reached' if at_least <= value <= at_most else 'missed'}"
