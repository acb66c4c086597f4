"""What one machine does: engines, the steps on a GPU, memory, and a long run."""

from __future__ import annotations

import statistics
from typing import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from bench.measure import CPU, FPS, Row, rows_of, spread
from bench.memory import ARRANGEMENTS as MEMORY_ARRANGEMENTS
from bench.tables.table import new_table


def engines(rows: Sequence[Row]) -> Iterator[Table]:
    """Images a second by batch size, a table for each model."""
    rows = [row for row in rows_of(rows, experiment="engines") if "rates" in row]
    for model in sorted({row["model"] for row in rows}):
        mine = rows_of(rows, model=model)
        sizes = sorted({int(batch) for row in mine for batch in row["rates"]})
        table = new_table(
            f"{model}: images/s by batch size", "engine", *map(str, sizes), "GPU busy, best batch"
        )
        for engine in sorted({row["engine"] for row in mine}):
            found = rows_of(mine, engine=engine)
            gpu = spread(found, "gpu_utilisation")
            rates = [statistics.median(row["rates"][str(size)] for row in found) for size in sizes]
            name = f"{engine} on {found[0]['device']}"
            table.add_row(name, *(f"{rate:.0f}" for rate in rates), f"{gpu.median:.0%}" if gpu else "-")
        yield table


def cuda(rows: Sequence[Row]) -> Iterator[Table]:
    """Each step on a GPU, alone, and what whole JPEGs make of it."""
    rows = rows_of(rows, experiment="cuda")
    yield from _workers([row for row in rows if "worker" in row and FPS in row])
    yield from _labels([row for row in rows if "same_labels" in row])
    rows = [row for row in rows if "step" in row and FPS in row]
    batched, sized = ([row for row in rows if key in row] for key in ("images", "size"))
    for model in dict.fromkeys(row["model"] for row in batched):
        mine = rows_of(batched, model=model)
        batches = list(dict.fromkeys(row["images"] for row in mine))
        title = f"{model} on {mine[0]['device']}, each step alone: milliseconds of a batch (images/s)"
        table = new_table(title, "batch of", *map(str, batches))
        for step in dict.fromkeys(row["step"] for row in mine):
            rates = [spread(rows_of(mine, step=step, images=batch), FPS) for batch in batches]
            cells = [
                f"{1000 * batch / rate.median:.3f} ({rate.median:,.0f})" if rate else ""
                for batch, rate in zip(batches, rates)
            ]
            table.add_row(step, *cells)
        yield table
    sizes = list(dict.fromkeys(row["size"] for row in sized))
    table = new_table("From JPEGs, frames/s (GPU busy)", "", *sizes)
    for step, model in dict.fromkeys((row["step"], row.get("model")) for row in sized):
        mine = [row for row in rows_of(sized, step=step) if row.get("model") == model]
        cells = [_rate_and_use(rows_of(mine, size=size)) for size in sizes]
        table.add_row(f"{step}, {model}" if model else step, *cells)
    if table.row_count:
        yield table


def _workers(rows: Sequence[Row]) -> Iterator[Table]:
    """Workers on a GPU: what they answer, and what keeps them from answering more."""
    if not rows:
        return
    parts = {"worker": "fleet", "engine": "engine process", "decoders": "worker.decode.process"}
    columns = ("size", "frames/s", "GPU busy", "GPU MB", *(f"{part}, CPU ms" for part in parts))
    title = f"Workers on {rows[0]['device']}, by a frame (publishers busy to 90% or more are the bound)"
    table = new_table(title, "", *columns, "publishers, busy")
    for name, model, size in dict.fromkeys((row["worker"], row["model"], row["size"]) for row in rows):
        mine = rows_of(rows, worker=name, model=model, size=size)
        rate, gpu, memory = (spread(mine, key) for key in (FPS, "gpu_utilisation", "gpu_bytes"))
        spent = [
            statistics.median(row[f"{CPU}_of"].get(part, 0.0) for row in mine) for part in parts.values()
        ]
        busy = spread(mine, "publishers_busy")
        table.add_row(
            f"{name}, {model}",
            size,
            f"{rate.median:,.0f}" if rate else "",
            f"{gpu.median:.0%}" if gpu else "",
            f"{memory.median / 1e6:,.0f}" if memory else "",
            *(f"{milliseconds:.2f}" for milliseconds in spent),
            f"{mine[0]['publishers']}, {busy.median:.0%}" if busy else "",
        )
    yield table


def _labels(rows: Sequence[Row]) -> Iterator[Table]:
    if not rows:
        return
    table = new_table("Labels as in float32", "", "all", "clear ones")
    for row in rows:
        clear = f"{row['same_clear']} of {row['clear']}"
        table.add_row(f"{row['model']}, 2 front ends", f"{row['same_labels']} of {row['pictures']}", clear)
    yield table


def _rate_and_use(rows: Sequence[Row]) -> str:
    rate, gpu = spread(rows, FPS), spread(rows, "gpu_utilisation")
    if rate is None:
        return ""
    return f"{rate.median:,.0f} ({gpu.median:.0%})" if gpu else f"{rate.median:,.0f}"


def memory(rows: Sequence[Row]) -> Iterator[Table]:
    """What is installed, and what a worker takes."""
    rows = rows_of(rows, experiment="memory")
    table = new_table("Installed, MB on disk", "pip install")
    table.add_column("MB", justify="right")
    for row in rows:
        if "bytes" in row:
            table.add_row(escape(f"'.[{row['extra']}]'"), f"{row['bytes'] / 1e6:.0f}")
    if table.row_count:
        yield table
    columns = ("start, peak MB", "start, CPU s", "rest, MB", "load, MB")
    table = new_table("A worker with its decoders, 1080p (PSS)", "the model", *columns)
    for name in MEMORY_ARRANGEMENTS:
        mine = rows_of(rows, arrangement=name)
        cpu = spread(mine, "start_cpu_seconds")
        peaks = [spread(mine, figure) for figure in ("start_bytes", "rest_bytes", "load_bytes")]
        if cpu and all(peaks):
            start, *others = [f"{peak.median / 1e6:.0f}" for peak in peaks if peak]
            table.add_row(name, start, f"{cpu.median:.1f}", *others)
    if table.row_count:
        yield table


def soak(rows: Sequence[Row]) -> Iterator[Table]:
    """Whether anything has grown over a long run."""
    rows = rows_of(rows, experiment="soak")
    if len(rows) < 8:
        return
    quarter = len(rows) // 4
    early, late = rows[quarter : 2 * quarter], rows[-quarter:]
    title = f"Soak of {rows[-1]['minutes']:.0f} minutes: second quarter and last quarter, medians"
    table = new_table(title, "", "second", "last", "ratio")
    figures = {"frames/s": [[row[FPS] for row in part] for part in (early, late)]}
    for name in sorted({name for row in rows for name in row["bytes_of"]}):
        figures[f"{name}, MB"] = [
            [row["bytes_of"].get(name, 0) / 1e6 for row in part] for part in (early, late)
        ]
    for name, parts in figures.items():
        before, after = (statistics.median(part) for part in parts)
        table.add_row(name, f"{before:.1f}", f"{after:.1f}", f"{after / before:.3f}" if before else "")
    yield table
