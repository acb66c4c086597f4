"""What the log lets through, and how it looks."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from fleet.logs import BURST, WINDOW_SECONDS, JsonFormatter, PrintableFormatter, RateLimit, TextFormatter
from tests.harness import nanofleet
from wire.log_lines import NAMED_ONCE
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
    logger = logging.Logger("worker.test")
    logger.addHandler(handler)
    return logger, stream, clock


def test_a_strangers_text_moves_no_cursor_and_starts_no_line(
    log: Tuple[logging.Logger, io.StringIO, Clock],
) -> None:
    logger, stream, _ = log
    logger.warning("ignored %s", "door\x1b[2J\r\nERROR all is lost\x07\u202e\x9b")
    assert stream.getvalue() == ("WARNING ignored door\\x1b[2J\\r\\nERROR all is lost\\x07\\u202e\\x9b\n")


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
def test_a_library_logs_without_its_colours(form: Any) -> None:
    coloured = "\x1b[1;31mcannot\x1b[0m export \x1b]8;;https://pytorch.org\x1b\\this\x1b]8;;\x07\x9b0m"
    line = form().format(logging.LogRecord("torch.onnx", logging.ERROR, "", 0, coloured, (), None))
    assert "cannot export this" in line
    assert "[" not in line


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
def test_a_line_is_cut(form: Any) -> None:
    try:
        raise ValueError("\x1b" * 1_000_000)
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 0, "topic %s", ("\x1b" * 1_000_000,), sys.exc_info()
        )
    assert len(form().format(record)) < 300_000
    record.exc_info = record.exc_text = None
    assert len(form().format(record)) < 30_000


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
    clock.now = WINDOW_SECONDS
    logger.warning("bad frame %d", 1000)
    assert stream.getvalue().endswith(f"bad frame 1000 (and {1000 - BURST} more like this)\n")
    logger.warning("bad frame %d", 1001)
    assert stream.getvalue().endswith("bad frame 1001\n")


def test_what_is_named_once_is_never_held_back(log: Tuple[logging.Logger, io.StringIO, Clock]) -> None:
    logger, stream, _ = log
    for number in range(2 * BURST):
        logger.warning("file %d", number, extra=NAMED_ONCE)
        logger.warning("bad frame %d", number)
    assert stream.getvalue().count("file") == 2 * BURST
    assert stream.getvalue().count("frame") == BURST


@pytest.mark.parametrize("text", ["plain", "Café 北京 🙂", ""])
def test_what_can_be_seen_stays(text: str) -> None:
    assert printable(text) == text


# --- how it looks --------------------------------------------------------------------------------------

#: A line of each level, of ours and of a library; a traceback, a warning, and exceptions that nobody catches.
_SPEAKS = """
    import logging, sys, threading, warnings
    from fleet.logs import configure_logging

    configure_logging(*sys.argv[1:3])
    for name in ("worker.service", "library"):
        for level in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), level)("%s of %s\\nsecond", level, name)
    try:
        raise ValueError("first\\nsecond")
    except ValueError:
        logging.getLogger("worker").exception("caught")
    warnings.warn("old", DeprecationWarning)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    raise KeyError("caf\u00e9")
"""


def said(level: str, form: str, **options: Any) -> str:
    """What a process logs."""
    command = [sys.executable, "-W", "always", "-c", textwrap.dedent(_SPEAKS), level, form]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)
    assert run.returncode == 1
    return run.stderr


def record(message: str, *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord("wire.mqtt.connection", logging.WARNING, "", 0, message, arguments, None)
    made.created = 1_795_697_680.1234
    return made


def test_text_has_the_time_in_utc() -> None:
    assert TextFormatter().format(record("lost %s", "x")) == "2026-11-26T12:54:40.123Z WARNING lost x"


def test_json_is_one_object_a_line_in_ascii() -> None:
    line = JsonFormatter().format(record("caf\u00e9 %s", "\x1b[2J\n\u202e"))
    assert json.loads(line) == {
        "time": "2026-11-26T12:54:40.123Z",
        "level": "warning",
        "logger": "wire.mqtt.connection",
        "message": "caf\u00e9 \x1b[2J\n\u202e",
    }
    assert line.isascii()
    assert line.isprintable()


def test_every_line_is_json_also_those_of_python_itself() -> None:
    lines: List[Dict[str, str]] = [json.loads(line) for line in said("info", "json").splitlines()]
    shown = [(line["level"], line["logger"], line["message"].split("\n")[0]) for line in lines]
    assert shown == [
        ("info", "worker.service", "info of worker.service"),
        ("warning", "worker.service", "warning of worker.service"),
        ("error", "worker.service", "error of worker.service"),
        ("warning", "library", "warning of library"),
        ("error", "library", "error of library"),
        ("error", "worker", "caught"),
        ("warning", "fleet.logs", "<string>:13: DeprecationWarning: old"),
        ("critical", "fleet.logs", "uncaught ZeroDivisionError"),
        ("critical", "fleet.logs", "uncaught KeyError"),
    ]
    assert lines[5]["exception"].startswith("Traceback (most recent call last):\n")
    assert lines[5]["exception"].endswith("ValueError: first\nsecond")
    assert "exception" not in lines[0]


@pytest.mark.parametrize(("level", "count"), [("debug", 8), ("info", 5), ("warning", 4), ("error", 2)])
def test_levels(level: str, count: int) -> None:
    text = said(level, "text")
    assert len(re.findall(r"(?m)^\S+Z \w+ +\w+ of [\w.]+\\nsecond$", text)) == count, text


def test_the_journal_gets_a_priority_with_each_line() -> None:
    read, write = os.pipe()
    status = os.fstat(write)
    stream = f"{status.st_dev}:{status.st_ino}"
    lines = {}
    for form in ("text", "json"):
        command = [sys.executable, "-c", textwrap.dedent(_SPEAKS), "debug", form]
        subprocess.run(command, stderr=write, env={**os.environ, "JOURNAL_STREAM": stream}, check=False)
        lines[form] = os.read(read, 1 << 16).decode().splitlines()
    os.close(read)
    os.close(write)
    assert [line[:3] for line in lines["text"][:4]] == ["<7>", "<6>", "<4>", "<3>"]
    assert all(re.match(r"<[2-7]>", line) for line in lines["text"])  # those of a traceback as well
    assert lines["text"][-1].startswith("<2>KeyError")
    assert all(json.loads(line[3:]) for line in lines["json"])


def test_a_file_behind_the_journal_gets_none(tmp_path: Path) -> None:
    """A unit's variable is inherited by what it starts with a stderr of its own."""
    with (tmp_path / "log").open("w") as file:
        command = [sys.executable, "-c", textwrap.dedent(_SPEAKS), "debug", "text"]
        subprocess.run(command, stderr=file, env={**os.environ, "JOURNAL_STREAM": "9:12345"}, check=False)
    text = (tmp_path / "log").read_text()
    assert "info of worker.service" in text
    assert not re.search(r"(?m)^<\d>", text)
    assert "\x1b" not in text


@pytest.mark.parametrize("fault", [["--log-level", "loud"], ["--log-format", "xml"]])
def test_errors_before_the_settings_are_read_are_printed(fault: List[str]) -> None:
    run = nanofleet("models", "list", *fault)
    assert run.returncode == 2
    assert run.stderr.startswith(f"nanofleet models list: {fault[0]}: ")
