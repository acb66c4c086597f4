"""A case for each fault."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from PIL import Image

from tests.faults import report
from tests.faults.case import Case
from tests.faults.proxy import Proxy


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
def case(root: str, tmp_path: Path, start_worker: Any, images: List[bytes]) -> Iterator[Callable[..., Case]]:
    """Begin a case against a broker; its row goes into the report when the test ends, well or not."""
    begun: List[Case] = []

    def begin(fault: str, url: str) -> Case:
        begun.append(Case(fault, url, root, tmp_path, start_worker, images))
        return begun[-1]

    yield begin
    for each in begun:
        report.rows.append(each.row())
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
