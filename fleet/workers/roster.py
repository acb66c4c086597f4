"""The workers by their statuses: the state of each, the age of its status, how it differs from its group.

The age of a retained status is by the clock of the worker that sent it, which may be wrong: if a worker would
be silent by it although its status says online, the commands wait for its next status. A live status was sent
now, whatever time is in it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple, Union

from fleet.workers.watch import Arrival, Fleet
from wire.clock import SET_AFTER
from wire.errors import DecodeError
from wire.messages import AdoptionClaim, ModelCommand, WorkerStatus

#: States in which a worker reports every third of its lease, unless something keeps it from that.
REPORTING = ("online", "draining")
#: Of a lease: the time within which a worker that is there has reported again.
_REPORT = 0.4
#: Seconds by which two clocks may differ before a note says so.
_CLOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Entry:
    """One worker.

    Attributes:
        name: as in its topic.
        status: its latest; None if that cannot be read.
        state: the status's, or adopted, silent, or unreadable.
        age: seconds since its last report; None if unknown.
        at_most: whether its last report may be later than that.
        notes: what an operator should look at.
        adopter: the worker that drains, or has drained, its session; empty if none does.
    """

    name: str
    status: Optional[WorkerStatus]
    state: str
    age: Optional[float]
    at_most: bool = False
    notes: Tuple[str, ...] = ()
    adopter: str = ""

    @property
    def model(self) -> str:
        """What it serves."""
        return f"{self.status.model}@{self.status.weights}" if self.status else ""


def roster(fleet: Fleet) -> List[Entry]:
    """All workers with a status, by name."""
    now = time.monotonic()
    statuses = {name: s for name, s in list(fleet.statuses.items()) if name not in fleet.unreadable}
    names = [name for name in {*statuses, *fleet.unreadable} if name not in fleet.removed]
    online = [statuses[name] for name in names if name in statuses and _state(fleet, name, now) == "online"]
    return [_entry(fleet, name, online, now) for name in sorted(names, key=_by_number)]


def online(fleet: Fleet) -> List[str]:
    """The workers that are there, by name."""
    return [entry.name for entry in roster(fleet) if entry.state == "online"]


def listen_for_silent(fleet: Fleet, seconds: float) -> None:
    """Give workers that seem to be silent the time to report: perhaps only their clock is wrong.

    Args:
        fleet: connected.
        seconds: to wait, at most.
    """

    def doubtful() -> List[WorkerStatus]:
        now = time.monotonic()
        return [
            status for name, status in list(fleet.statuses.items()) if _state(fleet, name, now) == "silent"
        ]

    if doubtful():
        longest = max(status.lease_seconds for status in doubtful())
        fleet.wait_for(lambda: not doubtful(), min(seconds, _REPORT * longest))


def shown_age(entry: Entry) -> str:
    """The age of a worker's last report, for people."""
    if entry.age is None:
        return "?"
    seconds = max(0.0, entry.age)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{'within ' if entry.at_most else ''}{seconds / length:.0f} {unit}"
    return f"{'within ' if entry.at_most else ''}{seconds:.0f} s"


def _entry(fleet: Fleet, name: str, online: Sequence[WorkerStatus], now: float) -> Entry:
    if name in fleet.unreadable:
        return Entry(name, None, "unreadable", None, notes=(fleet.unreadable[name],))
    status = fleet.statuses[name]
    claim = _claim(fleet, name, now)
    age = _age(claim[1] if claim else fleet.arrivals[name], now)
    # A will was written when the connection began, and holds no time of its end.
    at_most = fleet.arrivals[name].retained and status.state == "lost" and claim is None
    unset = claim is None and fleet.arrivals[name].retained and status.sent_at < SET_AFTER
    known = None if age < -status.lease_seconds or unset else age
    state = _state(fleet, name, now)
    adopter = claim[0].worker if claim else ""
    notes = tuple(_notes(fleet, name, state, adopter, online))
    return Entry(name, status, state, known, at_most, notes, adopter)


def _claim(fleet: Fleet, name: str, now: float) -> Optional[Tuple[AdoptionClaim, Arrival]]:
    """The claim of the worker that has drained the session of one that is gone, or else drains it now."""
    status = fleet.statuses[name]
    if status.state != "lost" and not _is_silent(fleet, name, now):
        return None
    claims = [
        (claim, arrival)
        for (dead, _), (claim, arrival) in list(fleet.claims.items())
        if dead == name and claim.instance == status.instance
    ]
    return max(claims, key=lambda found: (found[0].state == "ended", found[1].at), default=None)


def _age(arrival: Arrival, now: float) -> float:
    return now - arrival.at + (arrival.clock if arrival.retained else 0.0)


def _is_silent(fleet: Fleet, name: str, now: float) -> bool:
    status = fleet.statuses[name]
    return status.state in REPORTING and abs(_age(fleet.arrivals[name], now)) > status.lease_seconds


def _state(fleet: Fleet, name: str, now: float) -> str:
    claim = _claim(fleet, name, now)
    if claim and claim[0].state == "ended":
        return "adopted"
    return "silent" if _is_silent(fleet, name, now) else fleet.statuses[name].state


def _notes(fleet: Fleet, name: str, state: str, adopter: str, online: Sequence[WorkerStatus]) -> List[str]:
    status, arrival = fleet.statuses[name], fleet.arrivals[name]
    notes = []
    if adopter:
        notes.append(f"{'adopted' if state == 'adopted' else 'being adopted'} by {adopter}")
    # The time in a will is that of the connection's beginning.
    if status.state in REPORTING and not arrival.retained and abs(arrival.clock) > _CLOCK_SECONDS:
        how = "behind" if arrival.clock > 0 else "ahead of"
        notes.append(f"its clock is {abs(arrival.clock):.0f} s {how} this one")
    if state == "online":
        notes += [] if status.takes_frames else ["has stepped aside to catch up"]
        notes += _notes_on_model(fleet, name, status, online)
    return notes


def _notes_on_model(
    fleet: Fleet, name: str, status: WorkerStatus, online: Sequence[WorkerStatus]
) -> List[str]:
    """Why a worker serves what it serves, where that is not what the others do."""
    change = status.change
    if change is not None and change.state == "loading":
        return [f"is loading {change.model}"]
    if change is not None and change.state == "failed":
        return [f"could not change to {change.model}: {change.detail}"]
    if fleet.topics.model_command(name) in fleet.commands:
        return ["has a model command of its own"]
    command = _fleets_command(fleet)
    if isinstance(command, str):
        return [command]
    if command is not None:
        if not status.accepts_control:
            return [f"--ignore-control keeps it from the fleet's {command.choice.model}"]
        follows = change is not None and change.command == command.id
        return [] if follows else [f"does not follow the fleet's command: {command.choice.model}"]
    return _notes_on_group(status, online)


def _fleets_command(fleet: Fleet) -> Union[ModelCommand, str, None]:
    payload = fleet.commands.get(fleet.topics.model_command())
    try:
        return ModelCommand.decode(payload) if payload else None
    except DecodeError as error:
        return f"the fleet's command cannot be read: {error}"


def _notes_on_group(status: WorkerStatus, online: Sequence[WorkerStatus]) -> List[str]:
    served = Counter((each.model, each.weights) for each in online if each.group == status.group)
    if len(served) < 2:
        return []
    (most, count), total = served.most_common(1)[0], sum(served.values())
    if 2 * count <= total:
        return [f"its group serves {len(served)} models"]
    other = most != (status.model, status.weights)
    return [f"another model than most of its group: {'@'.join(most)}"] if other else []


def _by_number(name: str) -> List[Union[str, int]]:
    """nano-2 before nano-10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]
