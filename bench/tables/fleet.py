"""What the fleet does as it grows, and how it shares what it has."""

from __future__ import annotations

import statistics
from typing import Callable, Iterator, Optional, Sequence

from rich.table import Table

from bench.growth import AXES
from bench.measure import CPU, FPS, Row, Spread, rows_of, spread
from bench.paper import FLEETS, GIGABIT, NANO_TENSORRT, NANO_TORCH, need
from bench.roles import parts_of
from bench.rows import quantile
from bench.sharing import ARRANGEMENTS, FAST, FLOODS, QUIET_RATE, SLOW
from bench.tables.table import new_table
from bench.transport import ANSWERS, BARE, BY_THREAD, PAYLOADS, READERS, TRANSPORT, parts


def growth(rows: Sequence[Row]) -> Iterator[Table]:
    """Frames a second as one thing grows, a table for each thing."""
    rows = rows_of(rows, experiment="growth")
    for axis in (axis for axis in AXES if rows_of(rows, axis=axis)):
        columns = ("frames/s", "low - high", "of the first", "CPU ms/frame", "peak MB")
        table = new_table(f"As one thing grows: {axis}", axis, *columns)
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


def transport(rows: Sequence[Row]) -> Iterator[Table]:
    """What the broker and a reader that only reads can do, and where nanofleet's time goes."""
    rows = rows_of(rows, experiment="transport")
    columns = ("who reads", "frames/s", "low - high", "CPU ms/frame", "its own")
    table = new_table("The transport alone", "payload", *columns)
    table.columns[1].justify = "left"
    for payload in PAYLOADS:
        for name in READERS:
            mine = rows_of(rows, way=name, payload=payload)
            rate, cpu = (spread(mine, figure) for figure in (FPS, CPU))
            if rate and cpu:
                own = statistics.median(parts_of(row).server for row in mine)
                cells = [f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}"]
                table.add_row(f"{payload:,}", name, *cells, f"{cpu.median:.2f}", f"{own:.2f}")
    if table.row_count:
        yield table
    answered = [row for row in rows_of(rows, way=ANSWERS) if BY_THREAD in row]
    if answered:
        yield _transport_parts(answered, rows_of(rows, way=BARE))


def _transport_parts(answered: Sequence[Row], bare: Sequence[Row]) -> Table:
    payloads = sorted({row["payload"] for row in answered})
    table = new_table("nanofleet, answers: its CPU, ms/frame", "part", *(f"{each:,}" for each in payloads))
    spent = {payload: [parts(row) for row in rows_of(answered, payload=payload)] for payload in payloads}

    def add(name: str, of: Callable[[Row], float]) -> None:
        medians = (statistics.median(of(each) for each in spent[payload]) for payload in payloads)
        table.add_row(name, *(f"{median:.3f}" for median in medians))

    for name in parts(answered[0]):
        add(name, lambda each, name=name: each[name])  # type: ignore[misc]
    add("the transport: the first four", lambda each: sum(each[name] for name in TRANSPORT))
    alone = [spread(rows_of(bare, payload=payload), CPU) for payload in payloads]
    table.add_row(
        "decoding and classifying in a loop", *(f"{each.median:.3f}" if each else "" for each in alone)
    )
    return table


def fairness(rows: Sequence[Row]) -> Iterator[Table]:
    """Latencies of quiet cameras beside floods."""
    title = f"Quiet cameras, {QUIET_RATE:g} frames/s together: their latencies, milliseconds"
    table = new_table(title, "", "p50", "p95", "p99", "frames")
    for flood in FLOODS:
        mine = rows_of(rows, experiment="fairness", flood=flood)
        times = [milliseconds for row in mine for milliseconds in row.get("latencies_ms", ())]
        if times:
            cells = [f"{quantile(times, share):.1f}" for share in (0.5, 0.95, 0.99)]
            table.add_row(flood, *cells, str(len(times)))
    if table.row_count:
        yield table


def unequal(rows: Sequence[Row]) -> Iterator[Table]:
    """How two workers of different speed share the frames."""
    title = f"Two workers, {1000 * FAST:g} and {1000 * SLOW:g} ms a frame"
    table = new_table(title, "", "frames/s", "low - high", "of the sum of both alone")
    rates = [spread(rows_of(rows, experiment="unequal", arrangement=name), FPS) for name in ARRANGEMENTS]
    alone = [rate.median for rate in rates[:2] if rate]
    for name, rate in zip(ARRANGEMENTS, rates):
        if rate:
            known = name.startswith("both") and len(alone) == 2
            share = f"{rate.median / sum(alone):.2f}" if known else ""
            table.add_row(name, f"{rate.median:.1f}", f"{rate.lowest:.1f} - {rate.highest:.1f}", share)
    if table.row_count:
        yield table


def paper(rows: Sequence[Row]) -> Iterator[Table]:
    """What large fleets need, computed from what was measured."""
    payload = 100_000
    found = rows_of(rows, experiment="growth", axis="payload", value=payload)
    spent = [row["cpu_ms_per_frame_of"]["mosquitto"] for row in found]
    if not spent:
        return
    cpu_ms = statistics.median(spent)
    title = f"On paper: frames of {payload // 1000} kB, each {cpu_ms:.2f} ms of a broker's core (measured)"
    table = new_table(
        title, "Nanos", "frames/s of each", "frames/s", "Gb/s", "nodes, 1 Gb/s", "nodes, 10 Gb/s"
    )
    for rate in (NANO_TORCH, NANO_TENSORRT):
        for nanos in FLEETS:
            needs = [need(nanos, rate, cpu_ms, payload, link) for link in (GIGABIT, 10 * GIGABIT)]
            cells = [f"{rate:g}", f"{needs[0].frames_per_second:,.0f}", f"{needs[0].gigabits_per_second:.1f}"]
            table.add_row(f"{nanos:,}", *cells, *(str(found.nodes) for found in needs))
    yield table
