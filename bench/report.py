"""What the rows say: medians and spread, ratios, and whether the targets are reached.

rows ──> Spread of each way ──> tables: on a terminal for people, elsewhere as Markdown for the docs
"""

from __future__ import annotations

import io
import statistics
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.growth import AXES
from bench.latency import LOADS
from bench.measure import FPS, Row, Spread, rows_of, spread
from bench.memory import ARRANGEMENTS as MEMORY_ARRANGEMENTS
from bench.paper import FLEETS, GIGABIT, NANO_TENSORRT, NANO_TORCH, need
from bench.sharing import ARRANGEMENTS, FAST, FLOODS, QUIET_RATE, SLOW
from bench.transport import PAYLOADS, READERS
from bench.ways import WAYS
from wire.errors import NanofleetError

LIMIT_B = "limit B"
#: Around the tables in a page of the docs.
BEGIN, END = "<!-- tables: python -m bench report --plots docs -->", "<!-- end of tables -->"
#: Processes that every reader of the transport's table has beside it, in one form or the other.
_COMMON = ("mosquitto", "bench.drivers.publisher", "bench.drivers.reader")
#: From so many frames on, one in a hundred means something.
_ENOUGH_FOR_P99 = 200


class Target(NamedTuple):
    """A ratio to be reached. It compares medians of one run."""

    what: str
    figure: str
    way: str
    other: str
    size: str
    bound: float
    at_most: bool = False


CPU = "cpu_ms_per_frame"
TARGETS = (
    Target("of limit B", FPS, "nanofleet", LIMIT_B, "480p", 0.95),
    Target("of limit B, with two workers", FPS, "nanofleet (2 workers)", LIMIT_B, "480p", 0.9),
    Target("times the tutorial's loop", FPS, "nanofleet", "tutorial loop", "480p", 3.5),
    Target("times the tutorial's loop", FPS, "nanofleet", "tutorial loop", "1080p", 8.0),
    Target("times the paho script", FPS, "nanofleet", "paho script", "480p", 3.5),
    Target("times LitServe with PyTorch", FPS, "nanofleet", "LitServe (eager)", "480p", 4.0),
    Target("times LitServe with our engine", FPS, "nanofleet", "LitServe (our engine)", "480p", 1.2),
    Target("times mosec with our engine", FPS, "nanofleet", "mosec (our engine)", "480p", 1.0),
    Target("times Ray Serve with our engine", FPS, "nanofleet", "Ray Serve (our engine)", "480p", 1.0),
    Target("of limit B's CPU per frame", CPU, "nanofleet", LIMIT_B, "480p", 1.1, at_most=True),
)
CAMERAS_TARGET = 0.97


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all is not above: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def of_way(rows: Sequence[Row], model: str, size: str, way: str) -> List[Row]:
    """A way's throughput rows; `limit B` are those of its arrangement with the best median."""
    rows = rows_of(rows, experiment="throughput", model=model, size=size)
    if way != LIMIT_B:
        return rows_of(rows, way=way)
    arrangements = [rows_of(rows, way=w.name) for w in WAYS if w.name.startswith(LIMIT_B)]
    medians = [(found.median, part) for part in arrangements for found in [spread(part, FPS)] if found]
    return max(medians, key=lambda pair: pair[0])[1] if medians else []


def ratio(rows: Sequence[Row], model: str, target: Target) -> Optional[float]:
    """What a target compares, or None if one side was not measured."""
    figures = [
        spread(of_way(rows, model, target.size, way), target.figure) for way in (target.way, target.other)
    ]
    return figures[0].median / figures[1].median if figures[0] and figures[1] else None


def models_in(rows: Sequence[Row]) -> List[str]:
    """The models of the throughput rows, in a fixed order."""
    return sorted({row["model"] for row in rows_of(rows, experiment="throughput")})


def show(results: Dict[str, Any]) -> None:
    """Print all tables that a run's rows are good for, and what failed."""
    console = Console(highlight=False)
    if console.is_terminal:
        for table in tables(results):
            console.print(table)
    else:
        print(as_markdown(results))
    for row in results["rows"]:
        if "error" in row:
            keys = ("way", "engine", "step", "axis", "flood", "arrangement")
            name = next((row[key] for key in keys if key in row), "")
            console.print(f"failed: {row['experiment']}, {name}: {row['error']}", markup=False)


def renew(page: Path, results: Dict[str, Any]) -> None:
    """Put the tables into a page, in the place of those between its two marks.

    Raises:
        NanofleetError: the page has no such marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise NanofleetError(f"{page} has no place for tables: {BEGIN} … {END}")
    page.write_text(f"{before}{begin}\n\n{as_markdown(results)}\n{end}{after}", encoding="utf-8")


def as_markdown(results: Dict[str, Any]) -> str:
    """The run's circumstances, and all tables."""
    about = results["about"]
    facts = [f"{about['processor']}, {about['cores']} cores, Python {about['python']}"]
    facts += [f"{name} {version}" for name, version in about["versions"].items()]
    weights = "; ".join(f"{model}: {origin}" for model, origin in about["weights"].items())
    lines = [f"Measured on {', '.join(facts)}.", f"Weights: {weights}.", ""]
    return "\n".join(lines + [markdown(table) for table in tables(results)])


def markdown(table: Table) -> str:
    """A table with its title, as Markdown."""
    title, table.title, table.box = table.title, None, box.MARKDOWN
    output = Console(file=io.StringIO(), width=500, highlight=False)
    with output.capture() as capture:
        output.print(table)
    lines = [line.strip() for line in capture.get().splitlines()]
    return "\n".join([f"**{title}**", "", *filter(None, lines), ""])


def tables(results: Dict[str, Any]) -> Iterator[Table]:
    """All of them."""
    rows = results["rows"]
    for model in models_in(rows):
        yield from _throughput(rows, model)
    yield from _targets(rows)
    yield from _stages(rows)
    yield from _latency(rows)
    yield from _growth(rows)
    yield from _transport(rows)
    yield from _fairness(rows)
    yield from _unequal(rows)
    yield from _paper(rows)
    yield from _engines(rows)
    yield from _cuda(rows)
    yield from _memory(rows)
    yield from _soak(rows)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _throughput(rows: Sequence[Row], model: str) -> Iterator[Table]:
    sizes = {row["size"] for row in rows_of(rows, experiment="throughput", model=model) if "size" in row}
    for size in sorted(sizes, key=lambda name: int(name[:-1])):
        best = spread(of_way(rows, model, size, LIMIT_B), FPS)
        columns = ("way", "frames/s", "low - high", "of limit B", "CPU ms/frame", "peak MB")
        busy = any("gpu_utilisation" in row for row in rows)
        table = _table(f"{model}, {size}", *columns, *(["GPU busy"] if busy else []))
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


def _targets(rows: Sequence[Row]) -> Iterator[Table]:
    table = _table("Targets", "nanofleet is", "at", "target", *models_in(rows))
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


def _stages(rows: Sequence[Row]) -> Iterator[Table]:
    names = ("queue_ms", "decode_ms", "inference_ms", "total_ms", "batch")
    table = _table(
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


def _latency(rows: Sequence[Row]) -> Iterator[Table]:
    rows = rows_of(rows, experiment="latency")
    for load in LOADS:
        found = rows_of(rows, load=load)
        title = f"Latency at {load:.0%} of a way's own throughput, milliseconds"
        table = _table(title, "way", "frames/s", "p50", "p95", "p99", "frames")
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


def _growth(rows: Sequence[Row]) -> Iterator[Table]:
    rows = rows_of(rows, experiment="growth")
    for axis in (axis for axis in AXES if rows_of(rows, axis=axis)):
        columns = ("frames/s", "low - high", "of the first", "CPU ms/frame", "peak MB")
        table = _table(f"As one thing grows: {axis}", axis, *columns)
        first: Optional[Spread] = None
        for value in sorted({row["value"] for row in rows_of(rows, axis=axis)}):
            mine = rows_of(rows, axis=axis, value=value)
            rate, cpu, peak = (spread(mine, figure) for figure in (FPS, CPU, "peak_bytes"))
            if rate and cpu and peak:
                first = first or rate
                cells = [f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}"]
                cells += [
                    f"{rate.median / first.median:.2f}",
                    f"{cpu.median:.2f}",
                    f"{peak.median / 1e6:.0f}",
                ]
                table.add_row(f"{value:,}", *cells)
        yield table


def _transport(rows: Sequence[Row]) -> Iterator[Table]:
    rows = rows_of(rows, experiment="transport")
    columns = ("who reads", "frames/s", "low - high", "CPU ms/frame", "its own")
    table = _table("The transport alone", "payload", *columns)
    table.columns[1].justify = "left"
    for payload in PAYLOADS:
        for name in READERS:
            mine = rows_of(rows, way=name, payload=payload)
            rate, cpu = (spread(mine, figure) for figure in (FPS, CPU))
            if rate and cpu:
                own = statistics.median(map(_own_cpu, mine))
                cells = [f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}"]
                table.add_row(f"{payload:,}", name, *cells, f"{cpu.median:.2f}", f"{own:.2f}")
    if table.row_count:
        yield table


def _own_cpu(row: Row) -> float:
    """What a reader's own processes take, without those of publisher and broker."""
    spent: Dict[str, float] = row["cpu_ms_per_frame_of"]
    return sum(milliseconds for name, milliseconds in spent.items() if name not in _COMMON)


def _fairness(rows: Sequence[Row]) -> Iterator[Table]:
    title = f"Quiet cameras, {QUIET_RATE:g} frames/s together: their latencies, milliseconds"
    table = _table(title, "", "p50", "p95", "p99", "frames")
    for flood in FLOODS:
        mine = rows_of(rows, experiment="fairness", flood=flood)
        times = [milliseconds for row in mine for milliseconds in row.get("latencies_ms", ())]
        if times:
            cells = [f"{quantile(times, share):.1f}" for share in (0.5, 0.95, 0.99)]
            table.add_row(flood, *cells, str(len(times)))
    if table.row_count:
        yield table


def _unequal(rows: Sequence[Row]) -> Iterator[Table]:
    title = f"Two workers, {1000 * FAST:g} and {1000 * SLOW:g} ms a frame"
    table = _table(title, "", "frames/s", "low - high", "of the sum of both alone")
    rates = [spread(rows_of(rows, experiment="unequal", arrangement=name), FPS) for name in ARRANGEMENTS]
    alone = [rate.median for rate in rates[:2] if rate]
    for name, rate in zip(ARRANGEMENTS, rates):
        if rate:
            known = name.startswith("both") and len(alone) == 2
            share = f"{rate.median / sum(alone):.2f}" if known else ""
            table.add_row(name, f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}", share)
    if table.row_count:
        yield table


def _paper(rows: Sequence[Row]) -> Iterator[Table]:
    payload = 100_000
    found = rows_of(rows, experiment="growth", axis="payload", value=payload)
    spent = [row["cpu_ms_per_frame_of"]["mosquitto"] for row in found]
    if not spent:
        return
    cpu_ms = statistics.median(spent)
    title = f"On paper: frames of {payload // 1000} kB, each {cpu_ms:.2f} ms of a broker's core (measured)"
    table = _table(title, "Nanos", "frames/s of each", "frames/s", "Gb/s", "nodes, 1 Gb/s", "nodes, 10 Gb/s")
    for rate in (NANO_TORCH, NANO_TENSORRT):
        for nanos in FLEETS:
            needs = [need(nanos, rate, cpu_ms, payload, link) for link in (GIGABIT, 10 * GIGABIT)]
            cells = [f"{rate:g}", f"{needs[0].frames_per_second:,.0f}", f"{needs[0].gigabits_per_second:.1f}"]
            table.add_row(f"{nanos:,}", *cells, *(str(found.nodes) for found in needs))
    yield table


def _engines(rows: Sequence[Row]) -> Iterator[Table]:
    rows = [row for row in rows_of(rows, experiment="engines") if "rates" in row]
    for model in sorted({row["model"] for row in rows}):
        mine = rows_of(rows, model=model)
        sizes = sorted({int(batch) for row in mine for batch in row["rates"]})
        table = _table(f"{model}: images/s by batch size", "engine", *map(str, sizes), "GPU busy, best batch")
        for engine in sorted({row["engine"] for row in mine}):
            found = rows_of(mine, engine=engine)
            gpu = spread(found, "gpu_utilisation")
            rates = [statistics.median(row["rates"][str(size)] for row in found) for size in sizes]
            name = f"{engine} on {found[0]['device']}"
            table.add_row(name, *(f"{rate:.0f}" for rate in rates), f"{gpu.median:.0%}" if gpu else "-")
        yield table


def _cuda(rows: Sequence[Row]) -> Iterator[Table]:
    rows = [row for row in rows_of(rows, experiment="cuda") if FPS in row]
    batched, sized = ([row for row in rows if key in row] for key in ("images", "size"))
    for model in dict.fromkeys(row["model"] for row in batched):
        mine = rows_of(batched, model=model)
        batches = list(dict.fromkeys(row["images"] for row in mine))
        title = f"{model} on {mine[0]['device']}, each step alone: milliseconds of a batch (images/s)"
        table = _table(title, "batch of", *map(str, batches))
        for step in dict.fromkeys(row["step"] for row in mine):
            rates = [spread(rows_of(mine, step=step, images=batch), FPS) for batch in batches]
            cells = [
                f"{1000 * batch / rate.median:.3f} ({rate.median:,.0f})" if rate else ""
                for batch, rate in zip(batches, rates)
            ]
            table.add_row(step, *cells)
        yield table
    sizes = list(dict.fromkeys(row["size"] for row in sized))
    table = _table("From JPEGs, frames/s (GPU busy)", "", *sizes)
    for step, model in dict.fromkeys((row["step"], row.get("model")) for row in sized):
        mine = [row for row in rows_of(sized, step=step) if row.get("model") == model]
        cells = [_rate_and_use(rows_of(mine, size=size)) for size in sizes]
        table.add_row(f"{step}, {model}" if model else step, *cells)
    if table.row_count:
        yield table


def _rate_and_use(rows: Sequence[Row]) -> str:
    rate, gpu = spread(rows, FPS), spread(rows, "gpu_utilisation")
    if rate is None:
        return ""
    return f"{rate.median:,.0f} ({gpu.median:.0%})" if gpu else f"{rate.median:,.0f}"


def _memory(rows: Sequence[Row]) -> Iterator[Table]:
    rows = rows_of(rows, experiment="memory")
    table = _table("Installed, MB on disk", "pip install")
    table.add_column("MB", justify="right")
    for row in rows:
        if "bytes" in row:
            table.add_row(escape(f"'.[{row['extra']}]'"), f"{row['bytes'] / 1e6:.0f}")
    if table.row_count:
        yield table
    columns = ("start, peak MB", "start, CPU s", "rest, MB", "load, MB")
    table = _table("A worker with its decoders, 1080p (PSS)", "the model", *columns)
    for name in MEMORY_ARRANGEMENTS:
        mine = rows_of(rows, arrangement=name)
        cpu = spread(mine, "start_cpu_seconds")
        peaks = [spread(mine, figure) for figure in ("start_bytes", "rest_bytes", "load_bytes")]
        if cpu and all(peaks):
            start, *others = [f"{peak.median / 1e6:.0f}" for peak in peaks if peak]
            table.add_row(name, start, f"{cpu.median:.1f}", *others)
    if table.row_count:
        yield table


def _soak(rows: Sequence[Row]) -> Iterator[Table]:
    rows = rows_of(rows, experiment="soak")
    if len(rows) < 8:
        return
    quarter = len(rows) // 4
    early, late = rows[quarter : 2 * quarter], rows[-quarter:]
    title = f"Soak of {rows[-1]['minutes']:.0f} minutes: second quarter and last quarter, medians"
    table = _table(title, "", "second", "last", "ratio")
    figures = {"frames/s": [[row[FPS] for row in part] for part in (early, late)]}
    for name in sorted({name for row in rows for name in row["bytes_of"]}):
        figures[f"{name}, MB"] = [
            [row["bytes_of"].get(name, 0) / 1e6 for row in part] for part in (early, late)
        ]
    for name, parts in figures.items():
        before, after = (statistics.median(part) for part in parts)
        table.add_row(name, f"{before:.1f}", f"{after:.1f}", f"{after / before:.3f}" if before else "")
    yield table
