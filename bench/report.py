"""What the rows say: medians and spread, ratios, and whether the targets are reached.

rows ──> Spread of each way ──> tables: on a terminal for people, elsewhere as Markdown for the docs
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Dict, Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from bench.rows import models_in
from bench.tables import fleet, machine, observer, ways
from wire.errors import NanofleetError

#: Around the tables in a page of the docs.
BEGIN, END = "<!-- tables: python -m bench report --plots docs -->", "<!-- end of tables -->"


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
            where = ", ".join(filter(None, (row["experiment"], name)))
            console.print(f"failed: {where}: {row['error']}", markup=False)


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
    """All tables that a run's rows are good for."""
    rows = results["rows"]
    for model in models_in(rows):
        yield from ways.throughput(rows, model)
    yield from ways.targets(rows)
    yield from ways.stages(rows)
    yield from ways.latency(rows)
    yield from fleet.growth(rows)
    yield from fleet.transport(rows)
    yield from fleet.fairness(rows)
    yield from fleet.unequal(rows)
    yield from observer.observer(rows)
    yield from fleet.paper(rows)
    yield from machine.engines(rows)
    yield from machine.cuda(rows)
    yield from machine.memory(rows)
    yield from machine.soak(rows)
