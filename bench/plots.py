"""Plots of a run as PNG, for the docs: transparent, in colours that light and dark pages let one read."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot, ticker

from bench.growth import AXES
from bench.latency import LOADS
from bench.measure import FPS, Row, rows_of, spread
from bench.rows import of_way, quantile
from bench.ways import WAYS

_INK = "#808790"
_COLOURS = {"limit": "#808790", "nanofleet": "#1f9d74", "peer": "#c9772b"}
_STYLE: Dict[str, Any] = {
    **{f"{part}color": _INK for part in ("text.", "axes.label", "xtick.", "ytick.", "axes.edge")},
    **{"axes.spines.top": False, "axes.spines.right": False, "savefig.transparent": True},
    **{"font.size": 9.0, "axes.titlesize": 10.0, "axes.titlecolor": _INK, "legend.frameon": False},
}


def draw(results: Dict[str, Any], folder: Path) -> Iterator[Path]:
    """Draw what a run's rows are good for, and yield the files."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"throughput": _throughput, "latency": _latency, "growth": _growth, "soak": _soak}
    with pyplot.rc_context(_STYLE):
        for name, plot in plots.items():
            rows = [row for row in rows_of(results["rows"], experiment=name) if "error" not in row]
            if rows:
                figure = plot(rows)
                path = folder / f"bench-{name}.png"
                figure.savefig(path, dpi=160, bbox_inches="tight")
                pyplot.close(figure)
                yield path


def _throughput(rows: Sequence[Row]) -> Any:
    panels = list(dict.fromkeys((row["model"], row["size"]) for row in rows))
    panels.sort(key=lambda panel: (panel[0], int(panel[1][:-1])))
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(1.8 + 2.1 * len(panels), 4), sharey=True, squeeze=False
    )
    names = [way.name for way in WAYS if rows_of(rows, way=way.name)]
    for (model, size), plane in zip(panels, axes[0]):
        for place, name in enumerate(reversed(names)):
            found = spread(of_way(rows, model, size, name), FPS)
            if found:
                kind = next(way.kind for way in WAYS if way.name == name)
                plane.barh(place, found.median, color=_COLOURS[kind])
                plane.hlines(place, found.lowest, found.highest, color=_INK, linewidth=1)
                plane.text(found.highest, place, f" {found.median:.0f}", va="center", fontsize=8)
        plane.set_yticks(range(len(names)), list(reversed(names)))
        plane.set_title(f"{model}, {size}")
        plane.set_xlabel("frames/s")
        plane.margins(x=0.2)
    return figure


def _latency(rows: Sequence[Row]) -> Any:
    figure, axes = pyplot.subplots(1, len(LOADS), figsize=(10, 3.2), sharey=True, sharex=True)
    names = [way.name for way in WAYS if rows_of(rows, way=way.name)]
    for load, plane in zip(LOADS, axes):
        for place, name in enumerate(reversed(names)):
            found = rows_of(rows, way=name, load=load)
            times = [milliseconds for row in found for milliseconds in row["latencies_ms"]]
            if times:
                kind = next(way.kind for way in WAYS if way.name == name)
                low, high = (quantile(times, share) for share in (0.5, 0.95))
                plane.plot([low, high], [place, place], color=_COLOURS[kind], linewidth=2)
                plane.plot(low, place, "o", color=_COLOURS[kind])
                plane.plot(high, place, "|", color=_COLOURS[kind], markersize=9)
        plane.set_xscale("log")
        plane.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
        plane.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        plane.minorticks_off()
        plane.set_yticks(range(len(names)), list(reversed(names)))
        plane.set_title(f"{load:.0%} load")
        plane.set_xlabel("latency, ms: p50 (dot) to p95 (bar)")
    return figure


def _growth(rows: Sequence[Row]) -> Any:
    names = [axis for axis in AXES if rows_of(rows, axis=axis)]
    figure, axes = pyplot.subplots(2, len(names), figsize=(2.6 * len(names), 4.6), squeeze=False)
    for column, name in enumerate(names):
        _grown(axes[0][column], rows_of(rows, axis=name), lambda row: row[FPS], "frames/s", name)
        _grown(
            axes[1][column], rows_of(rows, axis=name), lambda row: row["peak_bytes"] / 1e6, "memory, MB", name
        )
    figure.tight_layout()
    return figure


def _grown(plane: Any, rows: Sequence[Row], figure: Callable[[Row], float], label: str, axis: str) -> None:
    values: List[int] = sorted({row["value"] for row in rows})
    medians = [statistics.median(figure(row) for row in rows_of(rows, value=value)) for value in values]
    plane.plot(values, medians, "o-", color=_COLOURS["nanofleet"])
    for value in values:
        found = [figure(row) for row in rows_of(rows, value=value)]
        plane.vlines(value, min(found), max(found), color=_INK, linewidth=1)
    plane.set_xscale("log", base=10 if values[-1] > 100 else 2)
    unit = 1000 if axis == "payload" else 1
    plane.set_xticks(values, [f"{value // unit:,}" for value in values])
    plane.minorticks_off()
    plane.set_ylim(0, 1.1 * max(figure(row) for row in rows))
    plane.set_xlabel("payload, kB" if axis == "payload" else axis)
    plane.set_ylabel(label)


def _soak(rows: Sequence[Row]) -> Any:
    figure, (rates, memory) = pyplot.subplots(2, 1, figsize=(8, 4.6), sharex=True)
    minutes = [row["minutes"] for row in rows]
    rates.plot(minutes, [row[FPS] for row in rows], color=_COLOURS["nanofleet"])
    rates.set_ylabel("frames/s")
    rates.set_ylim(bottom=0)
    for name in sorted({name for row in rows for name in row["bytes_of"]}):
        memory.plot(minutes, [row["bytes_of"].get(name, 0) / 1e6 for row in rows], label=name)
    memory.set_ylim(bottom=0)
    memory.set_ylabel("memory (PSS), MB")
    memory.set_xlabel("minutes")
    memory.legend(fontsize=8)
    return figure
