"""What the rows say: medians and spread, ratios, and whether the targets are reached.

rows ──> Spread of each way ──> tables: on a terminal for people, elsewhere as Markdown for the docs
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from bench.about import NOT_INSTALLED
from bench.measure import Row, rows_of
from bench.tables import compare, fleet, machine, observer, targets, ways
from wire.errors import NanofleetError

#: Tables by the name that a page of the docs gives their place.
SECTIONS: Dict[str, Callable[[Sequence[Row]], Iterator[Table]]] = {
    "sweep": ways.sweep,
    "throughput": ways.throughput,
    "targets": targets.targets,
    "stages": ways.stages,
    "latency": ways.latency,
    "growth": fleet.growth,
    "transport": fleet.transport,
    "fairness": fleet.fairness,
    "unequal": fleet.unequal,
    "observer": observer.observer,
    "paper": fleet.paper,
    "compare": compare.compare,
    "engines": machine.engines,
    "cuda": machine.cuda,
    "memory": machine.memory,
    "soak": machine.soak,
}
#: The place of a section's tables in a page: what is between such marks is made anew.
_PLACE = re.compile(r"(<!-- tables: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


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
            keys = ("way", "setting", "engine", "step", "axis", "flood", "arrangement")
            where = ", ".join(str(row[key]) for key in ("experiment", *keys) if row.get(key))
            console.print(f"failed: {where}: {row['error']}", markup=False)


def renew(page: Path, results: Dict[str, Any]) -> None:
    """Make a page's tables of what was measured anew; others stay, with the line that says whose they are.

    Raises:
        NanofleetError: the page has no place for tables.
    """
    before = page.read_text(encoding="utf-8")
    if not _PLACE.search(before):
        raise NanofleetError(f"{page} has no place for tables: <!-- tables: NAME --> … <!-- end -->")

    def place(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        fresh = list(SECTIONS[name](results["rows"])) if name in SECTIONS else []
        if not fresh:
            return found.group()
        told = f"{circumstances(results, name)}\n\n" + "\n".join(map(markdown, fresh))
        return f"{begin}\n{told}\n{end}"

    page.write_text(_PLACE.sub(place, before), encoding="utf-8")


def as_markdown(results: Dict[str, Any]) -> str:
    """The run's circumstances, and all tables."""
    return "\n".join([circumstances(results), "", *map(markdown, tables(results))])


def circumstances(results: Dict[str, Any], section: str = "") -> str:
    """What all figures hold for, and how often a section's were measured."""
    about = results["about"]
    sets = ", ".join(about.get("instruction_sets", []))
    facts = [f"{about['processor']}{f' ({sets})' if sets else ''}", f"{about['cores']} cores"]
    facts += _rounds(results["rows"], section)
    facts += [f"Python {about['python']}", *_installed(about["versions"])]
    weights = "; ".join(f"{model}: {origin}" for model, origin in about["weights"].items())
    return f"Measured on {', '.join(facts)}. Weights: {weights}."


def _installed(versions: Dict[str, str]) -> List[str]:
    return [f"{name} {version}" for name, version in versions.items() if version != NOT_INSTALLED]


def _rounds(rows: Sequence[Row], section: str) -> List[str]:
    count = len({row["round"] for row in rows_of(rows, experiment=section) if "round" in row})
    return [f"{count} round{'s' if count > 1 else ''}"] if count else []


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
    for section in SECTIONS.values():
        yield from section(results["rows"])
