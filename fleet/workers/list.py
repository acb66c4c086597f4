"""`nanofleet workers`: a table of the workers, once or live; lines and JSON for programs."""

from __future__ import annotations

import json
import logging
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from fleet.console import has_reader, open_console, plain
from fleet.output import leave_reader
from fleet.workers.roster import REPORTING, Entry, listen_for_silent, roster, shown_age
from fleet.workers.settings import WorkersSettings
from fleet.workers.watch import Fleet
from wire.messages import WorkerStatus, utc_now
from wire.printable import show

log = logging.getLogger(__name__)

#: Seconds between two looks of `--watch`.
_LOOK_SECONDS = 0.25
_STYLES = {"online": "green", "silent": "red", "lost": "red", "unreadable": "red"}

_COLUMNS: Dict[str, Callable[[Entry, WorkerStatus], str]] = {
    "group": lambda entry, status: status.group,
    "model": lambda entry, status: entry.model,
    "engine": lambda entry, status: f"{status.engine} on {status.device}",
    "frames/s": lambda entry, status: f"{status.frames_per_second:.1f}",
    "in hand": lambda entry, status: str(status.in_hand),
    "heard": lambda entry, status: shown_age(entry),
    "version": lambda entry, status: status.version,
    "metrics": lambda entry, status: status.metrics,
}
#: Columns that are empty for a worker that is gone.
_OF_NOW = ("frames/s", "in hand")
#: Columns that a narrow terminal omits, in this order.
_SPARED = ("metrics", "version", "group", "in hand", "engine", "frames/s")

#: Characters of a line for the notes, which are folded.
_NOTES = 32


def workers(settings: WorkersSettings) -> int:
    """Print the workers.

    Returns:
        0 if one is online, or after `--watch`; else 1.

    Raises:
        NanofleetError: the broker refused, or was not there in time.
    """
    console = open_console()
    with Fleet(settings.open_broker(), settings.topics, timeout=settings.timeout) as fleet:
        try:
            if settings.watch:
                _watch(fleet, settings, console)
                return 0
            with Console(stderr=True).status("listening for workers that seem to be silent"):
                listen_for_silent(fleet, settings.timeout)
        except KeyboardInterrupt:
            return 0 if settings.watch else 130
        except BrokenPipeError:
            leave_reader()
            return 0
        found = roster(fleet)
    if settings.json_:
        for entry in found:
            _print_json(entry)
    elif found:
        console.print(_table(found, console))
    else:
        console.print(f"No worker has a status below {settings.topics.worker('')}")
    return 0 if any(entry.state == "online" for entry in found) else 1


def _watch(fleet: Fleet, settings: WorkersSettings, console: Console) -> None:
    if console.is_terminal and not settings.json_:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                table = _table(roster(fleet), console)
                connected = fleet.connection.connected.is_set()
                table.caption = None if connected else f"no connection to {fleet.connection.broker}"
                live.update(table, refresh=True)
                _wait(fleet)
    listen_for_silent(fleet, settings.timeout)  # a printed line cannot be taken back
    known: Dict[str, Entry] = {}
    while has_reader():
        found = {entry.name: entry for entry in roster(fleet)}
        for name in [name for name in known if name not in found]:
            _print_line(settings, name, None)
        for name, entry in found.items():
            if name not in known or _lasting(entry) != _lasting(known[name]):
                _print_line(settings, name, entry)
        known = found
        _wait(fleet)


def _wait(fleet: Fleet) -> None:
    fleet.connection.check()
    time.sleep(_LOOK_SECONDS)


def _lasting(entry: Entry) -> List[object]:
    """The facts of a worker whose change is worth a line; those that change with each frame are not."""
    status = entry.status
    facts = (
        [_COLUMNS[name](entry, status) for name in ("group", "model", "engine", "version", "metrics")]
        if status
        else []
    )
    # A clock's difference is never the same twice.
    notes = [note for note in entry.notes if "clock" not in note]
    return [entry.state, facts, notes, status and status.started_at]


def _print_line(settings: WorkersSettings, name: str, entry: Optional[Entry]) -> None:
    if settings.json_:
        if entry is None:
            print(json.dumps({"worker": name, "state": "forgotten"}), flush=True)
        else:
            _print_json(entry)
        return
    cells = [f"{utc_now():%Y-%m-%dT%H:%M:%SZ}", name, entry.state if entry else "forgotten"]
    if entry and entry.status:
        cells += [entry.model, _COLUMNS["engine"](entry, entry.status)]
    cells += entry.notes if entry else ()
    show("  ".join(cells))


def _print_json(entry: Entry) -> None:
    if entry.status is None:
        log.warning("%s: %s", entry.name, "; ".join(entry.notes))
        return
    message: Dict[str, Any] = json.loads(entry.status.encode())
    if entry.adopter:
        message.update(adopter=entry.adopter, adopted=entry.state == "adopted")
    print(json.dumps({**message, "silent": entry.state == "silent"}), flush=True)


def _table(entries: Sequence[Entry], console: Console) -> Table:
    columns = list(_COLUMNS)
    for spared in _SPARED:
        table = _table_of(entries, columns, _NOTES)
        if console.measure(table, options=console.options.update(max_width=1000)).maximum <= console.width:
            break
        columns.remove(spared)
    return _table_of(entries, columns)


def _table_of(entries: Sequence[Entry], columns: Sequence[str], notes: Optional[int] = None) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("worker", "state", *columns):
        number = column in ("frames/s", "in hand", "heard")
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    table.add_column("", overflow="fold", max_width=notes)
    for entry in entries:
        status = entry.status
        there = entry.state in REPORTING
        shown = [column if there or column not in _OF_NOW else "" for column in columns]
        cells = [_COLUMNS[column](entry, status) if status and column else "" for column in shown]
        table.add_row(
            entry.name,
            plain(entry.state, _STYLES.get(entry.state, "")),
            *cells,
            plain("; ".join(entry.notes), "yellow"),
        )
    return table
