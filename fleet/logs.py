"""The log on stderr: one line for each event, safe to look at, and not to be flooded.

text    2026-11-26T12:54:40.123Z WARNING lost mqtt://localhost:1883: …
json    {"time": "2026-11-26T12:54:40.123Z", "level": "warning", "logger": "worker.service", "message": …}

Where stderr is systemd's journal, each line begins with its priority, as <4> for a warning; the journal takes
that off and keeps it as the line's PRIORITY (see sd-daemon(3)).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
import warnings
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Tuple, Type

from fleet import OUR_PACKAGES
from wire.log_lines import NAMED_ONCE
from wire.printable import cut, plain, printable, printable_lines

#: Lines of one kind in a minute; a flood of bad frames must fill no disk.
BURST = 20
WINDOW_SECONDS = 60.0
#: Characters of a line's message, and of an exception's traceback, at most: either may quote a stranger.
LONGEST, LONGEST_TRACEBACK = 4000, 40_000

_OURS = (*OUR_PACKAGES, "nanofleet")
#: What syslog(3) calls them.
_PRIORITIES = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}

log = logging.getLogger(__name__)


def configure_logging(level: str, form: str) -> StderrHandler:
    """Log to stderr, and send there what Python itself would print in a form of its own.

    Args:
        level: debug, info, warning or error; lines of the libraries count from a warning on, or with debug.
        form: text or json.

    Returns:
        What writes the log. It is not used where the program around this one has a log of its own.
    """
    handler = StderrHandler(form)
    root = logging.getLogger()
    if root.handlers:
        return handler
    handler.addFilter(RateLimit())
    if level != "debug":
        handler.addFilter(lambda record: record.levelno >= logging.WARNING or _is_ours(record))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda hook: _log_uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)
    return handler


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment: a progress bar puts itself in its place, to stay below."""

    def __init__(self, form: str = "text") -> None:
        super().__init__()
        self._form = form
        self._to_journal = _stderr_is_the_journal()
        self.setFormatter(JsonFormatter() if form == "json" else TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            self._write(self.format(record), record.levelname)
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a log must not end what it logs
            self.handleError(record)

    def end_with(self, command: str, message: str) -> None:
        """Write the message that a command ends with: by itself, and in a log of JSON as a line of it."""
        if self._form == "json":
            self.handle(logging.LogRecord(command, logging.ERROR, "", 0, message, (), None))
            return
        self._write(f"{command}: {printable_lines(message)}", "ERROR")

    def _write(self, text: str, level: str) -> None:
        if self._to_journal:  # for which each line is an entry of its own
            text = "\n".join(f"<{_PRIORITIES[level]}>{line}" for line in text.split("\n"))
        print(text, file=sys.stderr, flush=True)


class PrintableFormatter(logging.Formatter):
    """Escapes control characters: a message may quote a topic, a path or a fault of a stranger's making."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        record.message = printable(cut(_message(record), LONGEST))
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        """A traceback keeps its lines."""
        text = cut(super().formatException(ei), LONGEST_TRACEBACK)  # type: ignore[arg-type]
        return printable_lines(text)


class TextFormatter(PrintableFormatter):
    """Time, level and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: Optional[str] = None) -> str:
        """The record's time."""
        return _utc(record.created)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: it can be neither broken nor obeyed by a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and message; and the traceback of an exception."""
        line: Dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": cut(_message(record), LONGEST),
        }
        if record.exc_info:
            line["exception"] = cut(self.formatException(record.exc_info), LONGEST_TRACEBACK)
        return json.dumps(line)


class RateLimit(logging.Filter):
    """Lets through so many lines of one kind a minute; the next line counts those held back.

    A kind is a place in the code: a message before its arguments are filled in. Lines that are NAMED_ONCE
    always pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By kind: when its minute began, lines let through in it, lines held back.
        self._kinds: Dict[Tuple[str, str], Tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is let through."""
        if NAMED_ONCE.items() <= vars(record).items():
            return True
        kind = (record.name, str(record.msg))
        now = self._clock()
        began, shown, held = self._kinds.get(kind, (now, 0, 0))
        if now - began >= WINDOW_SECONDS:
            began, shown = now, 0
        if shown >= BURST:
            self._kinds[kind] = (began, shown, held + 1)
            return False
        if held:
            record.msg = f"{record.msg} (and {held} more like this)"
        self._kinds[kind] = (began, shown + 1, 0)
        return True


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _OURS


def _message(record: logging.LogRecord) -> str:
    """The text of a line: a library's without its colours, ours with all that it quotes of strangers."""
    return record.getMessage() if _is_ours(record) else plain(record.getMessage())


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _stderr_is_the_journal() -> bool:
    """Whether stderr is the stream that systemd has named, and not, for example, a file behind it."""
    with contextlib.suppress(OSError):  # stderr may be closed
        status = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False


def _log_warning(
    message: object,
    category: Type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    log.warning("%s:%d: %s: %s", filename, lineno, category.__name__, plain(str(message)))


def _log_uncaught(
    kind: Type[BaseException], error: Optional[BaseException], traceback: Optional[TracebackType]
) -> None:
    log.critical("uncaught %s", kind.__name__, exc_info=(kind, error or kind(), traceback))
