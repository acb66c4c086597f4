"""What each way reaches: the sweep of settings, throughput, stages and latency."""

from __future__ import annotations

import statistics
from typing import Iterator, List, Sequence

from rich.table import Table

from bench.latency import LOADS, RATES
from bench.measure import CPU, FPS, Row, rows_of, spread
from bench.roles import parts_of
from bench.rows import models_in, of_way, quantile
from bench.sweep import best
from bench.tables.table import new_table
from bench.targets import times
from bench.ways import WAYS

#: From so many frames on, one in a hundred means something.
_ENOUGH_FOR_P99 = 200


def sizes_in(rows: Sequence[Row]) -> List[str]:
    """The sizes of some rows, the smallest first."""
    return sorted({row["size"] for row in rows if "size" in row}, key=lambda name: int(name[:-1]))


def sweep(rows: Sequence[Row]) -> Iterator[Table]:
    """Frames a second of each setting that was tried, a table for each model."""
    rows = [row for row in rows_of(rows, experiment="sweep") if FPS in row]
    for model in sorted({row["model"] for row in rows}):
        mine = rows_of(rows, model=model)
        sizes = sizes_in(mine)
        table = new_table(
            f"{model}: frames/s of each setting that was tried, and which is used", "way", "setting", *sizes
        )
        table.columns[1].justify = "left"
        for way in WAYS:
            tried = rows_of(mine, way=way.name)
            for setting in sorted({row["setting"] for row in tried}):
                cells = [_tried(tried, way.name, model, size, setting) for size in sizes]
                table.add_row(way.name, setting, *cells)
        yield table


def _tried(rows: Sequence[Row], way: str, model: str, size: str, setting: str) -> str:
    found = spread(rows_of(rows, size=size, setting=setting), FPS)
    if not found:
        return ""
    used = "used: " if best(rows, way, model, size) == setting else ""
    return f"{used}{found.median:.1f}"


def throughput(rows: Sequence[Row]) -> Iterator[Table]:
    """Frames a second of each way, a table for each model and size of the frames."""
    for model in models_in(rows):
        for size in sizes_in(rows_of(rows, experiment="throughput", model=model)):
            yield _throughput(rows, model, size)


def _throughput(rows: Sequence[Row], model: str, size: str) -> Table:
    columns = ("way", "frames/s", "low - high", "nanofleet is", "CPU ms/frame", "server", "broker", "load")
    busy = any("gpu_utilisation" in row for row in rows)
    table = new_table(f"{model}, {size}", *columns, "peak MB", *(["GPU busy"] if busy else []))
    for way in WAYS:
        mine = of_way(rows, model, size, way.name)
        rate, cpu, peak = (spread(mine, figure) for figure in (FPS, CPU, "peak_bytes"))
        if rate and cpu and peak:
            ratio = times(rows, model, size, way.name)
            cells = [f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}"]
            cells += [f"x {ratio:.2f}" if ratio else "", f"{cpu.median:.2f}", *parts(mine)]
            gpu = spread(mine, "gpu_utilisation")
            cells += [f"{peak.median / 1e6:.0f}", *([f"{gpu.median:.0%}" if gpu else ""] if busy else [])]
            table.add_row(way.name, *cells)
    return table


def parts(rows: Sequence[Row]) -> List[str]:
    """Whose CPU a frame took: server, broker and load, medians; a dash where there is no such process."""
    every = zip(*(parts_of(row) for row in rows))
    return [f"{statistics.median(spent):.2f}" if any(spent) else "-" for spent in every]


def stages(rows: Sequence[Row]) -> Iterator[Table]:
    """Where a frame's time goes in the worker."""
    names = ("queue_ms", "decode_ms", "inference_ms", "total_ms", "batch")
    table = new_table(
        "Where a frame's time goes in the worker, at full load: medians of the worker's own figures"
    )
    for column in ("model, size", *names):
        table.add_column(column.replace("_", " "), justify="right")
    for model in models_in(rows):
        for size in sizes_in(rows_of(rows, experiment="throughput", model=model)):
            found = [spread(of_way(rows, model, size, "nanofleet"), name) for name in names]
            if all(found):
                table.add_row(f"{model}, {size}", *(f"{figure.median:.1f}" for figure in found if figure))
    if table.row_count:
        yield table


def latency(rows: Sequence[Row]) -> Iterator[Table]:
    """Milliseconds from when a frame was due to its answer: at equal loads, then at parts of its own."""
    rows = [row for row in rows_of(rows, experiment="latency") if "latencies_ms" in row]
    yield from _at_equal_loads(rows)
    for load in LOADS:
        found = rows_of(rows, load=load)
        title = f"Latency at {load:.0%} of a way's own throughput, milliseconds"
        table = new_table(title, "way", "frames/s", "p50", "p95", "p99", "frames")
        for way in WAYS:
            mine = rows_of(found, way=way.name)
            if mine:
                rate = statistics.median(row["rate"] for row in mine)
                frames = sum(len(row["latencies_ms"]) for row in mine)
                table.add_row(way.name, f"{rate:.1f}", *_quantiles(mine), str(frames))
        if table.row_count:
            yield table


def _at_equal_loads(rows: Sequence[Row]) -> Iterator[Table]:
    title = "Latency at the same load for all, milliseconds: p50 / p95 / p99 (-: more than a way can do)"
    table = new_table(title, "way", *(f"{rate:g} frames/s" for rate in RATES))
    for way in WAYS:
        mine = rows_of(rows, way=way.name)
        if mine:
            cells = [" / ".join(_quantiles(rows_of(mine, at=rate))) for rate in RATES]
            table.add_row(way.name, *(cell or "-" for cell in cells))
    if any("at" in row for row in rows):
        yield table


def _quantiles(rows: Sequence[Row]) -> List[str]:
    times = [milliseconds for row in rows for milliseconds in row["latencies_ms"]]
    if not times:
        return []
    cells = [f"{quantile(times, share):.1f}" for share in (0.5, 0.95)]
    return [*cells, f"{quantile(times, 0.99):.1f}" if len(times) >= _ENOUGH_FOR_P99 else "-"]
