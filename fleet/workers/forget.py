"""`nanofleet workers forget`: removes the retained statuses of workers that are gone, and no others."""

from __future__ import annotations

from typing import List, Tuple

from fleet.console import open_console
from fleet.workers.roster import REPORTING, Entry, roster, shown_age
from fleet.workers.settings import ForgetSettings
from fleet.workers.watch import Fleet
from wire.errors import NanofleetError


def forget(settings: ForgetSettings) -> int:
    """Remove statuses, and print a line for each.

    Returns:
        0 if all that were named are removed, or all that --gone means; else 1.

    Raises:
        NanofleetError: the broker refused, or was not there in time.
    """
    console = open_console()
    with Fleet(settings.open_broker(), settings.topics, timeout=settings.timeout) as fleet:
        chosen, kept = _by_name(fleet, settings) if settings.names else _gone(fleet, settings)
        for entry in chosen:
            claimed = [pair for pair in list(fleet.claimed) if entry.name in pair]
            fleet.take_back([settings.topics.adoption(dead, worker) for dead, worker in claimed])
            # The status comes last: while it is there, the next run completes one that was cut off.
            fleet.take_back([settings.topics.worker(entry.name), settings.topics.beacon(entry.name)])
            console.print(f"{entry.name}: forgotten; {_last_words(entry)}")
    for sentence in kept:
        console.print(sentence)
    if settings.gone and not chosen:
        console.print("Nothing was removed.")
    return 1 if kept and settings.names else 0


def _by_name(fleet: Fleet, settings: ForgetSettings) -> Tuple[List[Entry], List[str]]:
    _listen(fleet, settings.names, settings.timeout)
    entries = {entry.name: entry for entry in roster(fleet)}
    chosen, kept = [], []
    for name in dict.fromkeys(settings.names):
        if name not in entries:
            kept.append(f"{name}: there is no status of such a worker")
        elif _is_heard(entries[name]):
            state = entries[name].state
            kept.append(f"{name}: kept; it is {state}, and was heard {_ago(entries[name])}. Stop it first")
        else:
            chosen.append(entries[name])
    return chosen, kept


def _gone(fleet: Fleet, settings: ForgetSettings) -> Tuple[List[Entry], List[str]]:
    assert settings.gone is not None
    seconds = settings.gone.total_seconds()

    def long_gone() -> List[Entry]:
        entries = [entry for entry in roster(fleet) if not _is_heard(entry)]
        return [entry for entry in entries if entry.age is not None and entry.age > seconds]

    _listen(fleet, [entry.name for entry in long_gone()], settings.timeout)
    found = long_gone()
    unknown = [
        f"{entry.name}: kept; it was lost at some time {shown_age(entry)}. "
        f"If that is long enough: nanofleet workers forget {entry.name}"
        for entry in found
        if entry.at_most
    ]
    unknown += [
        f"{entry.name}: kept; its clock is wrong, and nothing tells when it was heard. "
        f"If that is long enough: nanofleet workers forget {entry.name}"
        for entry in roster(fleet)
        if entry.status is not None and entry.age is None and not _is_heard(entry)
    ]
    return [entry for entry in found if not entry.at_most], unknown


def _is_heard(entry: Entry) -> bool:
    return entry.state in REPORTING


def _listen(fleet: Fleet, names: List[str], timeout: float) -> None:
    """Wait for reports of those whose status says online, for as long as their lease.

    Raises:
        NanofleetError: there is not the time for that.
    """

    def waiting() -> List[str]:
        return [
            name
            for name in names
            if name in fleet.statuses
            and fleet.statuses[name].state in REPORTING
            and fleet.arrivals[name].retained
        ]

    silent = [entry.name for entry in roster(fleet) if entry.name in waiting() and entry.state == "silent"]
    if not silent:
        return
    lease = max(fleet.statuses[name].lease_seconds for name in silent)
    if lease > timeout:
        raise NanofleetError(
            f"{', '.join(silent)}: silent only once nothing was heard for {lease:g} s; "
            f"give it --timeout {lease:g} or more"
        )
    fleet.wait_for(lambda: not set(silent) & set(waiting()), lease)


def _ago(entry: Entry) -> str:
    return shown_age(entry) if entry.at_most else f"{shown_age(entry)} ago"


def _last_words(entry: Entry) -> str:
    """The last known state of a worker, and what its removal means for frames."""
    if entry.status is None:
        return "its status could not be read"
    text = f"it was {entry.state}, heard {_ago(entry)}"
    if entry.state in ("offline", "adopted"):
        return text
    return f"{text}. Workers that start from now on do not adopt the frames that may wait for it"
