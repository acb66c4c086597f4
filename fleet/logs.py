"""The log on stderr: one line for each event, safe to look at, and not to be flooded."""

from __future__ import annotations

import logging
import sys
import time
from typing import Callable, Dict, Tuple

from wire.printable import printable

#: Lines of one kind in a minute; a flood of bad frames must fill no disk.
BURST = 20
WINDOW = 60.0


def configure_logging(level: int) -> None:
    """Log to stderr, from this level on."""
    handler = StderrHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[handler])


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment: a progress bar puts itself in its place, to stay below."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            print(self.format(record), file=sys.stderr)
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a log must not end what it tells of
            self.handleError(record)


class PrintableFormatter(logging.Formatter):
    """Escapes control characters: a message may quote a topic, a path or a fault of a stranger's making."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        """A traceback keeps its lines."""
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(printable(line) for line in text.split("\n"))


class RateLimit(logging.Filter):
    """Lets through so many lines of one kind a minute, and says how many more there were.

    A kind is a place in the code: a message before its arguments are filled in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By kind: when its minute began, lines let through in it, lines held back.
        self._kinds: Dict[Tuple[str, str], Tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is let through."""
        kind = (record.name, str(record.msg))
        now = self._clock()
        began, shown, held = self._kinds.get(kind, (now, 0, 0))
        if now - began >= WINDOW:
            began, shown = now, 0
        if shown >= BURST:
            self._kinds[kind] = (began, shown, held + 1)
            return False
        if held:
            record.msg = f"{record.msg} (and {held} more like this)"
        self._kinds[kind] = (began, shown + 1, 0)
        return True
