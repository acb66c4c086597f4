"""What each way reaches: throughput, targets, stages and latency."""

from __future__ import annotations

import statistics
from typing import Iterator, Optional, Sequence

from rich.table import Table

from bench.latency import LOADS
from bench.measure import CPU, FPS, Row, Spread, rows_of, spread
from bench.rows import LIMIT_B, models_in, of_way, quantile
from bench.tables.table import new_table
from bench.targets import CAMERAS_TARGET, TARGETS, ratio
from bench.ways import WAYS

#: From so many frames on, one in a hundred means something.
_ENOUGH_FOR_P99 = 200


def throughput(rows: Sequence[Row], model: str) -> Iterator[Table]:
    """Frames a second of each way, a table for each size of the frames."""
    sizes = {row["size"] for row in rows_of(rows, experiment="throughput", model=model) if "size" in row}
    for size in sorted(sizes, key=lambda name: int(name[:-1])):
        best = spread(of_way(rows, model, size, LIMIT_B), FPS)
        columns = ("way", "frames/s", "low - high", "of limit B", "CPU ms/frame", "peak MB")
        busy = any("gpu_utilisation" in row for row in rows)
        table = new_table(f"{model}, {size}", *columns, *(["GPU busy"] if busy else []))
        for way in WAYS:
            mine = of_way(rows, model, size, way.name)
            rate, cpu, peak = (spread(mine, figure) for figure in (FPS, CPU, "peak_bytes"))
            if rate and cpu and peak:
                share = f"{rate.median / best.median:.2f}" if best else ""
                cells = [f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}", share]
                gpu = spread(mine, "gpu_utilisation")
                cells += [f"{cpu.median:.2f}", f"{peak.median / 1e6:.0f}"]
                table.add_row(way.name, *cells, *([f"{gpu.median:.0%}" if gpu else ""] if busy else []))
        yield table


def targets(rows: Sequence[Row]) -> Iterator[Table]:
    """Whether the targets are reached."""
    table = new_table("Targets", "nanofleet is", "at", "target", *models_in(rows))
    for target in TARGETS:
        found = [ratio(rows, model, target) for model in models_in(rows)]
        if any(found):
            sign = "<=" if target.at_most else ">="
            cells = [_verdict(value, target.bound, target.at_most) for value in found]
            table.add_row(target.what, target.size, f"{sign} {target.bound:g}", *cells)
    few, many = (_cameras(rows, count) for count in (1, 1000))
    if few and many:
        cells = [_verdict(many.median / few.median, CAMERAS_TARGET, False), ""][: len(models_in(rows)) or 1]
        table.add_row("at 1,000 cameras, of 1 camera", "thumbnails", f">= {CAMERAS_TARGET}", *cells)
    if table.row_count:
        yield table


def _cameras(rows: Sequence[Row], count: int) -> Optional[Spread]:
    return spread(rows_of(rows, experiment="growth", axis="cameras", value=count), FPS)


def _verdict(value: Optional[float], bound: float, at_most: bool) -> str:
    if value is None:
        return ""
    reached = value <= bound if at_most else value >= bound
    return f"{value:.2f} {'reached' if reached else 'missed'}"


def stages(rows: Sequence[Row]) -> Iterator[Table]:
    """Where a frame's time goes in the worker."""
    names = ("queue_ms", "decode_ms", "inference_ms", "total_ms", "batch")
    table = new_table(
        "Where a frame's time goes in the worker, at full load: medians of the worker's own figures"
    )
    for column in ("model, size", *names):
        table.add_column(column.replace("_", " "), justify="right")
    for model in models_in(rows):
        for size in ("480p", "720p", "1080p"):
            found = [spread(of_way(rows, model, size, "nanofleet"), name) for name in names]
            if all(found):
                table.add_row(f"{model}, {size}", *(f"{figure.median:.1f}" for figure in found if figure))
    if table.row_count:
        yield table


def latency(rows: Sequence[Row]) -> Iterator[Table]:
    """Milliseconds from sending to answer, a table for each load."""
    rows = rows_of(rows, experiment="latency")
    for load in LOADS:
        found = rows_of(rows, load=load)
        title = f"Latency at {load:.0%} of a way's own throughput, milliseconds"
        table = new_table(title, "way", "frames/s", "p50", "p95", "p99", "frames")
        for way in WAYS:
            mine = rows_of(found, way=way.name)
            times = [milliseconds for row in mine for milliseconds in row["latencies_ms"]]
            if times:
                rate = statistics.median(row["rate"] for row in mine)
                cells = [f"{quantile(times, share):.1f}" for share in (0.5, 0.95)]
                cells.append(f"{quantile(times, 0.99):.1f}" if len(times) >= _ENOUGH_FOR_P99 else "-")
                table.add_row(way.name, f"{rate:.1f}", *cells, str(len(times)))
        if table.row_count:
            yield table
