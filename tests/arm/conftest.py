"""The emulated system, which `make arm` builds before these tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.arm.boards import JETSON_NANO, RASPBERRY_PI_5, Board


@pytest.fixture(scope="session")
def system() -> Path:
    """The emulated system's root."""
    if "ARM_SYSTEM" not in os.environ:
        pytest.skip("`make arm` builds what this runs in")
    if os.geteuid() != 0:
        pytest.fail("the system's root can be entered by root alone: sudo make arm")
    return Path(os.environ["ARM_SYSTEM"]).resolve() / "root"


@pytest.fixture(scope="session", params=[JETSON_NANO, RASPBERRY_PI_5], ids=lambda board: str(board.cpu))
def board(request: pytest.FixtureRequest) -> Board:
    """Each of the boards in turn."""
    found: Board = request.param
    return found
