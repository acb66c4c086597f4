"""The table of faults: a row for each case, printed at the end and written to report.json.

A pytest plugin, because with pytest-xdist the rows come from several processes.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, List

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.case import Row

REPORT = Path(__file__).parent / "report.json"
CAPTION = (
    "peak: the most memory (VmHWM) of any one worker process, and of any one of its decoder processes. "
    "seconds to recover: from the fault until each frame had its first answer; where nothing breaks, from "
    "the first frame sent."
)
rows: List[Row] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of the processes has ended: take its rows over."""
    rows.extend(Row(**row) for row in getattr(node, "workeroutput", {}).get("faults", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, if there is anything in it; or hand the rows to the process that does."""
    found = [asdict(row) for row in rows]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = found
    elif found:
        REPORT.write_text(json.dumps(found, indent=2) + "\n")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not rows:
        return
    table = Table(title="Faults", caption=CAPTION, caption_justify="left")
    for name in Row.__dataclass_fields__:
        table.add_column(name.replace("_", " "), justify="left" if name == "fault" else "right")
    for row in rows:
        table.add_row(
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in asdict(row).values())
        )
    console = Console(width=150)
    with console.capture() as captured:
        console.print(table)
    terminalreporter.write_line("")
    terminalreporter.write(captured.get())
