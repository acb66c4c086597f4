"""The table of faults: a row for each, printed at the end and written to report.json."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.faults.case import Case
from tests.faults.proxy import Proxy
from tests.faults.row import Row
from tests.fleets import Fleet

REPORT = Path(__file__).parent / "report.json"
CAPTION = (
    "peak: the most memory (VmHWM) of any one worker process, and of any one of its decoder processes. "
    "seconds to recover: from the fault until each frame had its first answer; where nothing breaks, from "
    "the first frame sent."
)
_rows: List[Row] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option of the faults."""
    parser.addoption("--long", action="store_true", help="faults: ten times the frames, longer outages")


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How many times the usual number of frames is to be sent."""
    # Without tests/faults on the command line, this file comes too late to add an option.
    return 10 if request.config.getoption("--long", default=False) else 1


@pytest.fixture
def outage(request: pytest.FixtureRequest) -> Callable[[float], float]:
    """How long an outage lasts, told how long it usually does, in seconds."""
    return lambda usual: 4 * usual if request.config.getoption("--long", default=False) else usual


@pytest.fixture
def case(fleet: Fleet, images: List[bytes]) -> Iterator[Callable[..., Case]]:
    """Begin a case against a broker; its row goes into the report when the test ends, well or not."""
    begun: List[Case] = []

    def begin(fault: str, url: str) -> Case:
        begun.append(Case(fault, fleet.at(url), images))
        return begun[-1]

    yield begin
    for each in begun:
        _rows.append(each.row())
        try:
            each.leave()
        finally:
            each.close()


@pytest.fixture
def proxy() -> Iterator[Callable[[str], Proxy]]:
    """Open a proxy in front of a broker. Ask for it before the case: so the workers can leave through it."""
    with contextlib.ExitStack() as opened:
        yield lambda url: opened.enter_context(Proxy(int(url.rsplit(":", 1)[1])))


@pytest.fixture(scope="session")
def images(photos: Path) -> List[bytes]:
    """A few photos as a small camera sends them."""
    made = []
    for name in ("rocket.jpg", "coffee.png", "chelsea.png"):
        with Image.open(photos / name) as image:
            buffer = io.BytesIO()
            image.convert("RGB").resize((320, 240)).save(buffer, "JPEG", quality=85)
        made.append(buffer.getvalue())
    return made


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Write the report, if there is anything in it."""
    if _rows:
        REPORT.write_text(json.dumps([asdict(row) for row in _rows], indent=2) + "\n")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not _rows:
        return
    table = Table(title="Faults", caption=CAPTION, caption_justify="left")
    for name in Row.__dataclass_fields__:
        table.add_column(name.replace("_", " "), justify="left" if name == "fault" else "right")
    for row in _rows:
        table.add_row(
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in asdict(row).values())
        )
    console = Console(width=150)
    with console.capture() as captured:
        console.print(table)
    terminalreporter.write_line("")
    terminalreporter.write(captured.get())
