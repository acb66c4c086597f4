"""The workers as their statuses tell: how each is, when it was heard, and in what it differs from its group.

A status that had been waiting with the broker tells its age by the clock of the worker that sent it. That is
not compared with this machine's clock without a check: a worker that calls itself online, and would be silent
by it, is listened for. What comes live was sent now, whatever time it says.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple, Union

from fleet.workers.watch import Fleet, Heard
from wire.clock import SET_AFTER
from wire.errors import DecodeError
from wire.messages import AdoptionClaim, ModelCommand, WorkerStatus

#: States in which a worker speaks: every third of its lease, unless something keeps it from that.
SPEAKING = ("online", "draining")
#: Of a lease: as long as it takes until a worker that is there has spoken again.
_A_WORD = 0.4
#: Seconds by which two clocks may differ without a word about it.
_CLOCKS = 10.0


@dataclass(frozen=True)
class Entry:
    """One worker.

    Attributes:
        name: as its topic says.
        status: its latest; None if that cannot be read.
        state: the status's, or adopted, silent, or unreadable.
        age: seconds since it was heard; None where nothing tells.
        at_most: whether it may have been heard later than `age` says.
        notes: what an operator should look at.
        adopter: who drains, or has drained, its session; empty for nobody.
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
    """Give those that seem to be silent the time to speak, if their clock is all that is wrong.

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
        fleet.wait_for(lambda: not doubtful(), min(seconds, _A_WORD * longest))


def shown_age(entry: Entry) -> str:
    """When a worker was heard, for people."""
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
    age = _age(claim[1] if claim else fleet.heard[name], now)
    # A will was written when the connection began, and says nothing of its end.
    at_most = fleet.heard[name].retained and status.state == "lost" and claim is None
    unset = claim is None and fleet.heard[name].retained and status.sent_at < SET_AFTER
    known = None if age < -status.lease_seconds or unset else age
    state = _state(fleet, name, now)
    adopter = claim[0].worker if claim else ""
    notes = tuple(_notes(fleet, name, state, adopter, online))
    return Entry(name, status, state, known, at_most, notes, adopter)


def _claim(fleet: Fleet, name: str, now: float) -> Optional[Tuple[AdoptionClaim, Heard]]:
    """Who has drained the session of a worker that is gone, or else drains it now."""
    status = fleet.statuses[name]
    if status.state != "lost" and not _is_silent(fleet, name, now):
        return None
    claims = [
        (claim, heard)
        for (dead, _), (claim, heard) in list(fleet.claims.items())
        if dead == name and claim.instance == status.instance
    ]
    return max(claims, key=lambda found: (found[0].state == "ended", found[1].at), default=None)


def _age(heard: Heard, now: float) -> float:
    return now - heard.at + (heard.clock if heard.retained else 0.0)


def _is_silent(fleet: Fleet, name: str, now: float) -> bool:
    status = fleet.statuses[name]
    return status.state in SPEAKING and abs(_age(fleet.heard[name], now)) > status.lease_seconds


def _state(fleet: Fleet, name: str, now: float) -> str:
    claim = _claim(fleet, name, now)
    if claim and claim[0].state == "ended":
        return "adopted"
    return "silent" if _is_silent(fleet, name, now) else fleet.statuses[name].state


def _notes(fleet: Fleet, name: str, state: str, adopter: str, online: Sequence[WorkerStatus]) -> List[str]:
    status, heard = fleet.statuses[name], fleet.heard[name]
    notes = []
    if adopter:
        notes.append(f"{'adopted' if state == 'adopted' else 'being adopted'} by {adopter}")
    # A will tells the time at which its connection began.
    if status.state in SPEAKING and not heard.retained and abs(heard.clock) > _CLOCKS:
        how = "behind" if heard.clock > 0 else "ahead of"
        notes.append(f"its clock is {abs(heard.clock):.0f} s {how} this one")
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
