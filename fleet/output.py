"""The three standard streams, as a command needs them: there, and with errors that say what is wrong."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from wire.errors import NanofleetError


class OutputFailed(NanofleetError):
    """What was printed cannot be written: the disk is full, say."""


class _Output(io.FileIO):
    """Standard output. Its reader's exit stays a BrokenPipeError, which is no fault."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except (BrokenPipeError, BlockingIOError):
            raise
        except OSError as error:
            raise OutputFailed(f"stdout: {error.strerror or error}") from None


def prepare_streams() -> None:
    """Open what whoever started this process has closed, and have stdout name its faults."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _named(sys.stdout)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # Python has None for it, and the next file gets its number, and with it what libraries print.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold any bytes
            stream.reconfigure(errors="backslashreplace")


def _named(stdout: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream, with errors that say that it is stdout."""
    raw = _Output(stdout.fileno(), "w", closefd=False)
    unbuffered = isinstance(stdout.buffer, io.FileIO)  # as PYTHONUNBUFFERED has it
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stdout.encoding,
        line_buffering=stdout.line_buffering,
        write_through=unbuffered,
    )


def leave_reader() -> None:
    """Send the rest of the output nowhere: it cannot be written, and Python's last flush must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
