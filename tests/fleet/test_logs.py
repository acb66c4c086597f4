"""What the log lets through, and how it looks."""

from __future__ import annotations

import io
import logging
from typing import Tuple

import pytest

from fleet.logs import BURST, WINDOW, PrintableFormatter, RateLimit
from wire.printable import printable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log() -> Tuple[logging.Logger, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    handler.addFilter(RateLimit(clock))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream, clock


def test_a_strangers_text_moves_no_cursor_and_starts_no_line(
    log: Tuple[logging.Logger, io.StringIO, Clock],
) -> None:
    logger, stream, _ = log
    logger.warning("ignored %s", "door\x1b[2J\r\nERROR all is lost\x07\u202e\x9b")
    assert stream.getvalue() == ("WARNING ignored door\\x1b[2J\\r\\nERROR all is lost\\x07\\u202e\\x9b\n")


def test_a_traceback_keeps_its_lines_and_nothing_else(
    log: Tuple[logging.Logger, io.StringIO, Clock],
) -> None:
    logger, stream, _ = log
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        logger.exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "ERROR failed"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: \\x1b[31mred"


def test_a_flood_of_one_kind_is_cut_and_counted_and_others_pass(
    log: Tuple[logging.Logger, io.StringIO, Clock],
) -> None:
    logger, stream, clock = log
    for number in range(1000):
        logger.warning("bad frame %d", number)
    logger.warning("something else")
    assert stream.getvalue().count("\n") == BURST + 1
    clock.now = WINDOW
    logger.warning("bad frame %d", 1000)
    assert stream.getvalue().endswith(f"bad frame 1000 (and {1000 - BURST} more like this)\n")
    logger.warning("bad frame %d", 1001)
    assert stream.getvalue().endswith("bad frame 1001\n")


@pytest.mark.parametrize("text", ["plain", "Café 北京 🙂", ""])
def test_what_can_be_seen_stays(text: str) -> None:
    assert printable(text) == text
