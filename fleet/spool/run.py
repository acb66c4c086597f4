"""`nanofleet spool list`, `retry` and `drop`: frames of the publisher's that have no answer."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import List, Sequence, Tuple

from rich.table import Table

from fleet.console import open_console, plain
from fleet.spool.settings import SpoolDropSettings, SpoolListSettings, SpoolRetrySettings
from publisher.contents import Entry, InUse, contents, drop
from publisher.refused import reason
from publisher.settings import SpoolSettings
from publisher.spool import Spool
from wire.errors import failure_of
from wire.messages import utc_now
from wire.printable import printable

#: Characters of an id that are shown, and that will do to name a frame.
_SHORT = 8


def list_frames(settings: SpoolListSettings) -> int:
    """Print the frames; returns the exit code."""
    found = contents(settings.spool_folder)
    if settings.json_:
        for entry in found:
            print(json.dumps(_facts(settings, entry)))
        return 0
    console = open_console()
    if found:
        console.print(_table(found))
    else:
        console.print(f"No frame is in {settings.spool_folder}")
        for folder in _others(settings):
            console.print(f"There are frames for another broker or root: {folder}")
    return 0


def retry(settings: SpoolRetrySettings) -> int:
    """Let refused frames wait again.

    Returns:
        0, or 1 if one that was named was not refused.

    Raises:
        NanofleetError: the spool cannot be written.
    """
    refused = [entry for entry in contents(settings.spool_folder) if entry.reason_code is not None]
    chosen, exit_code = _named(refused, settings.ids, "no refused frame") if settings.ids else (refused, 0)
    if not chosen:
        print("No frame waits again")
        return exit_code
    with Spool(settings.spool_folder, sys.maxsize) as spool:
        for entry in chosen:
            try:
                spool.take_back(entry.kept)
            except FileNotFoundError:
                exit_code = _complain(entry, "it is gone")
                continue
            except OSError as error:
                raise failure_of(f"--spool-dir {entry.kept.file}", error) from None
            print(f"{_shown(entry)}: waits again")
    print("The next nanofleet publish to this broker sends what waits")
    return exit_code


def drop_frames(settings: SpoolDropSettings) -> int:
    """Give frames up.

    Returns:
        0 if all that was meant is dropped, else 1.

    Raises:
        NanofleetError: the spool cannot be written.
    """
    found, exit_code = contents(settings.spool_folder), 0
    if settings.ids:
        found, exit_code = _named(found, settings.ids, "no frame")
    elif not settings.all:
        found = [entry for entry in found if entry.reason_code is not None]
    if settings.older_than is not None:
        before = utc_now() - settings.older_than
        found = [entry for entry in found if datetime.fromisoformat(entry.kept.captured_at) < before]
    dropped = 0
    for entry in found:
        try:
            if drop(entry):
                print(f"{_shown(entry)}: dropped")
                dropped += 1
            else:
                exit_code = _complain(entry, "it is gone: answered, or sent by a publisher")
        except InUse:
            exit_code = _complain(entry, "kept: a publisher that runs sends it. Stop that first")
        except OSError as error:
            raise failure_of(f"--spool-dir {entry.kept.file}", error) from None
    print(f"{dropped} dropped")
    return exit_code


def _named(entries: Sequence[Entry], ids: Sequence[str], none: str) -> Tuple[List[Entry], int]:
    """The frames that are meant, and the exit code: 1 if one could not be found."""
    found, exit_code = [], 0
    for name in ids:
        fitting = [entry for entry in entries if entry.kept.frame_id.startswith(name)]
        if len(fitting) == 1:
            found += [entry for entry in fitting if entry not in found]
            continue
        problem = (
            f"the ids of {len(fitting)} frames begin so: give more of it" if fitting else f"{none} has it"
        )
        print(f"{printable(name)}: {problem}", file=sys.stderr)
        exit_code = 1
    return found, exit_code


def _complain(entry: Entry, problem: str) -> int:
    print(f"{_shown(entry)}: {problem}", file=sys.stderr)
    return 1


def _shown(entry: Entry) -> str:
    kept = entry.kept
    return printable(f"{kept.frame_id[:_SHORT]}  {kept.camera}  {kept.source}")


def _why(entry: Entry) -> str:
    if entry.reason_code is not None:
        return reason(entry.reason_code)
    return (
        "no answer yet; a publisher is at work on it" if entry.in_use else "no answer; the next run sends it"
    )


def _state(entry: Entry) -> str:
    return "waiting" if entry.reason_code is None else "refused"


def _facts(settings: SpoolSettings, entry: Entry) -> object:
    kept = entry.kept
    return {
        "id": kept.frame_id,
        "camera": kept.camera,
        "topic": settings.topics.frames(kept.camera),
        "source": kept.source,
        "bytes": kept.size,
        "since": kept.captured_at,
        "state": _state(entry),
        "reason_code": entry.reason_code,
        "why": _why(entry),
        "file": str(kept.file),
    }


def _table(entries: Sequence[Entry]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("id", "camera", "source", "bytes", "since", "state", "why"):
        table.add_column(column, justify="right" if column == "bytes" else "left", overflow="fold")
    for entry in entries:
        kept = entry.kept
        cells = [kept.frame_id[:_SHORT], kept.camera, kept.source, f"{kept.size:,}", _since(kept.captured_at)]
        style = "" if entry.reason_code is None else "red"
        table.add_row(*cells, plain(_state(entry), style), _why(entry))
    return table


def _since(captured_at: str) -> str:
    return f"{datetime.fromisoformat(captured_at):%Y-%m-%dT%H:%M:%SZ}"  # the publisher writes UTC


def _others(settings: SpoolSettings) -> List[Path]:
    """Spools of other brokers and roots that hold frames."""
    return [folder for folder in sorted(settings.spool_dir.glob("*")) if next(folder.glob("*/0*-*"), None)]
