"""`nanofleet models use` and `models reset`: change the model of a running fleet, and wait until it has.

operator ── ModelCommand, retained ──> control topic ──> workers: load, swap
         <── WorkerStatus.change ──────────────────────

canary   frames before ──> N workers change and compare ──> within bounds? ── yes ──> the fleet
         rejections, p95                                                  └── no ───> the N go back
"""

from __future__ import annotations

import statistics
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

from rich.console import Console
from rich.table import Table

from fleet.console import open_console, plain
from fleet.models.settings import ResetSettings, UseSettings
from fleet.workers.roster import listen_for_silent, online, roster
from fleet.workers.watch import Fleet
from wire.errors import DecodeError, NanofleetError
from wire.messages import Change, ModelCommand


def use(settings: UseSettings) -> int:
    """Give the command, and wait for the workers.

    Returns:
        0 if every worker that should now runs the model, else 1.

    Raises:
        NanofleetError: the broker refused, or no worker is there to wait for.
    """
    console = open_console()
    canary = settings.canary > 0
    with Fleet(settings.open_broker(), settings.topics, timeout=settings.timeout, answers=canary) as fleet:
        _leave_out_silent(fleet, settings.timeout, console)
        if settings.canary and not settings.worker:
            return _use_with_canary(fleet, settings, console)
        if settings.worker and settings.worker not in online(fleet):
            known = ", ".join(online(fleet)) or "no worker at all"
            raise NanofleetError(f"worker {settings.worker!r} is not online; online is {known}")
        topic = settings.topics.model_command(settings.worker)
        former = fleet.commands.get(topic, b"")
        command = _retain(fleet, settings)
        workers = [settings.worker] if settings.worker else online(fleet)
        if not workers:
            raise NanofleetError("no worker is online; the command waits with the broker for those that come")
        alone = settings.worker is not None
        if _await(fleet, workers, command, settings.timeout, console, alone=alone):
            return 0
        if _nobody_can(fleet, workers, command):
            console.print(f"No worker can run it: {_put_back(fleet, topic, command, former)}")
            return 1
        which = f" --worker {settings.worker}" if alone else ""
        console.print(f"The command stays with the broker; nanofleet models reset{which} takes it back.")
        return 1


def reset(settings: ResetSettings) -> int:
    """Take the command back, and wait until nobody follows it.

    Returns:
        0 if nobody follows it any more, else 1.

    Raises:
        NanofleetError: the broker refused.
    """
    console = open_console()
    with Fleet(settings.open_broker(), settings.topics, timeout=settings.timeout) as fleet:
        topic = settings.topics.model_command(settings.worker)
        if topic not in fleet.commands:
            # Mosquitto shows none to a user that its ACL keeps from them; it refuses that user here.
            fleet.retain(topic, b"")
            console.print(f"There is no command on {topic}.")
            return 0
        _leave_out_silent(fleet, settings.timeout, console)
        workers = [settings.worker] if settings.worker else online(fleet)
        return 0 if _take_back(fleet, {topic: workers}, settings.timeout, console) else 1


# --- one command ---------------------------------------------------------------------------------------


def _leave_out_silent(fleet: Fleet, timeout: float, console: Console) -> None:
    """Say of whom nothing is heard although its status says online: it died with its broker, or hangs."""
    listen_for_silent(fleet, timeout)
    for entry in roster(fleet):
        if entry.state == "silent":
            console.print(f"{entry.name} is silent: this does not wait for it")


def _retain(fleet: Fleet, settings: UseSettings) -> ModelCommand:
    command = ModelCommand(id=uuid.uuid4().hex[:12], choice=settings.choice)
    fleet.retain(fleet.topics.model_command(settings.worker), command.encode())
    return command


def _await(
    fleet: Fleet,
    workers: Sequence[str],
    command: ModelCommand,
    timeout: float,
    console: Console,
    *,
    alone: bool,
) -> bool:
    """Wait until each worker follows the command or says why not; show it; whether all do."""
    followers = []
    table = Table("worker", "state", "model", "", box=None, pad_edge=False)
    for name in workers:
        if not fleet.statuses[name].accepts_control:
            table.add_row(name, "refuses", _serving(fleet, name), "it runs with --ignore-control")
        elif not alone and fleet.topics.model_command(name) in fleet.commands:
            why = f"it has a command of its own: nanofleet models reset --worker {name}"
            table.add_row(name, "keeps", _serving(fleet, name), why)
        else:
            followers.append(name)
    with console.status(f"waiting for {len(followers)} workers to run {command.choice.model}"):
        fleet.wait_for(lambda: all(_settled(fleet, name, command) for name in followers), timeout)
    served = 0
    for name in followers:
        change = _change(fleet, name, command)
        if fleet.statuses[name].state != "online":
            table.add_row(name, fleet.statuses[name].state, "", "it left before it had changed")
        elif change is None or change.state == "loading":
            table.add_row(name, "no answer", _serving(fleet, name), f"not within {timeout:g} s")
        else:
            served += change.state == "serving"
            table.add_row(name, change.state, _serving(fleet, name), change.detail)
    console.print(table)
    for sentence in sorted({sentence for name in followers for sentence in fleet.statuses[name].assumed}):
        console.print(f"assumed: {sentence}")
    return served == len(workers)


def _nobody_can(fleet: Fleet, workers: Sequence[str], command: ModelCommand) -> bool:
    """Whether the command was tried, and failed with all that have tried it and are still there."""
    there = [name for name in workers if fleet.statuses[name].state == "online"]
    states = {change.state for change in (_change(fleet, name, command) for name in there) if change}
    return states == {"failed"}


def _put_back(fleet: Fleet, topic: str, command: ModelCommand, former: bytes) -> str:
    """Let the former command stand again, unless somebody has changed it meanwhile; says what stands."""
    if fleet.commands.get(topic) != command.encode():
        return "but somebody has given another command meanwhile, or has taken it back."
    fleet.retain(topic, former)
    if not former:
        return "the command is taken back, and there was none before."
    try:
        return f"the command before stands again, {ModelCommand.decode(former).choice.model}."
    except DecodeError:
        return "the command before stands again."


def _settled(fleet: Fleet, name: str, command: ModelCommand) -> bool:
    change = _change(fleet, name, command)
    return fleet.statuses[name].state != "online" or (change is not None and change.state != "loading")


def _change(fleet: Fleet, name: str, command: ModelCommand) -> Optional[Change]:
    change = fleet.statuses[name].change
    return change if change is not None and change.command == command.id else None


def _serving(fleet: Fleet, name: str) -> str:
    status = fleet.statuses[name]
    return f"{status.model}@{status.weights}, {status.engine}"


def _take_back(fleet: Fleet, topics: Dict[str, List[str]], timeout: float, console: Console) -> bool:
    """Take commands back, and wait until none of the workers of each follows it; whether none does."""

    def followed() -> List[str]:
        still = []
        for topic, workers in topics.items():
            for name in workers:
                status = fleet.statuses.get(name)
                change = status.change if status and status.state == "online" else None
                # What goes before the command now may be another one, for the fleet, that must be loaded.
                if change and (change.topic == topic or change.state == "loading"):
                    still.append(name)
        return still

    for topic in topics:
        fleet.retain(topic, b"")
    with console.status("waiting for the workers to go back"):
        fleet.wait_for(lambda: not followed(), timeout)
    for name in sorted({name for workers in topics.values() for name in workers}):
        if name in fleet.statuses:
            console.print(f"{name}  {'still ' if name in followed() else ''}{_serving(fleet, name)}")
    return not followed()


# --- a few workers first ---------------------------------------------------------------------------------


@dataclass
class Observed:
    """What some workers answered over a while."""

    total_ms: List[float] = field(default_factory=list)
    rejected: int = 0

    def hear(self, fleet: Fleet, workers: Sequence[str]) -> None:
        """Add the answers that have come since the last call."""
        for answer in fleet.take_answers():
            if answer.worker not in workers:
                continue
            if answer.total_ms is None:
                self.rejected += 1
            else:
                self.total_ms.append(answer.total_ms)

    @property
    def frames(self) -> int:
        """Answers of either kind."""
        return len(self.total_ms) + self.rejected

    @property
    def rejections(self) -> float:
        """Share of the frames that were rejected."""
        return self.rejected / max(1, self.frames)

    @property
    def p95(self) -> float:
        """Milliseconds from receipt to answer that 95% of the frames stayed below."""
        return statistics.quantiles(self.total_ms, n=20)[-1] if len(self.total_ms) > 1 else 0.0


class Bound(NamedTuple):
    """One thing that the canaries are judged by."""

    name: str
    found: str
    allowed: str
    kept: bool


def _use_with_canary(fleet: Fleet, settings: UseSettings, console: Console) -> int:
    free = [
        name
        for name in online(fleet)
        if fleet.statuses[name].accepts_control and fleet.topics.model_command(name) not in fleet.commands
    ]
    if len(free) < settings.canary:
        others = len(online(fleet)) - len(free)
        raise NanofleetError(
            f"--canary {settings.canary}: {len(online(fleet))} workers are online"
            + (f", and {others} of them have --ignore-control or a command of their own" if others else "")
        )
    canaries = free[: settings.canary]
    before = Observed()
    command: Optional[ModelCommand] = None
    if not _observe(fleet, canaries, before, settings, console, "as they are"):
        raise NanofleetError(
            f"{before.frames} frames came within {settings.timeout:g} s, and a canary is judged by "
            f"{settings.canary_frames} before and after; nothing was changed"
        )
    with _canaries(fleet, canaries, settings, console) as changed:
        if changed:
            after = Observed()
            enough = _observe(fleet, canaries, after, settings, console, "with the new model", compared=True)
            bounds = _judge(fleet, canaries, before, after, settings)
            _show(bounds, console)
            if enough and all(bound.kept for bound in bounds):
                # Before the canaries' own commands are taken back, so that they change nothing meanwhile.
                command = _retain(fleet, settings)
                console.print("within bounds: on to the whole fleet")
            else:
                console.print("out of bounds: rolling back" if enough else "too few frames: rolling back")
        else:
            console.print("the canaries could not change: rolling back")
    if command is None:
        return 1
    return 0 if _await(fleet, online(fleet), command, settings.timeout, console, alone=False) else 1


@contextmanager
def _canaries(fleet: Fleet, names: Sequence[str], settings: UseSettings, console: Console) -> Iterator[bool]:
    """Change some workers while the block lasts; whether they could. Then they follow the fleet again."""
    command = ModelCommand(id=uuid.uuid4().hex[:12], choice=settings.choice, compare=True)
    topics = {fleet.topics.model_command(name): [name] for name in names}
    try:
        for topic in topics:
            fleet.retain(topic, command.encode())
        yield _await(fleet, names, command, settings.timeout, console, alone=True)
    finally:
        # What somebody else has commanded there meanwhile stands.
        given = command.encode()
        ours = {topic: names for topic, names in topics.items() if fleet.commands.get(topic, given) == given}
        _take_back(fleet, ours, settings.timeout, console)


def _observe(
    fleet: Fleet,
    names: Sequence[str],
    observed: Observed,
    settings: UseSettings,
    console: Console,
    how: str,
    *,
    compared: bool = False,
) -> bool:
    """Follow live frames until there are enough to judge by; False if they did not come in time."""
    fleet.take_answers()
    deadline = time.monotonic() + settings.timeout
    wanted = settings.canary_frames
    with console.status("") as status:
        while True:
            observed.hear(fleet, names)
            seen = min(observed.frames, _compared(fleet, names)[0]) if compared else observed.frames
            status.update(plain(f"{', '.join(names)} {how}: {seen} of {wanted} frames"))
            if seen >= wanted:
                return True
            if time.monotonic() > deadline:
                return False
            fleet.wait_for(lambda: False, 0.2)


def _compared(fleet: Fleet, names: Sequence[str]) -> List[int]:
    changes = [fleet.statuses[name].change for name in names]
    return [sum(c.compared for c in changes if c), sum(c.agreed for c in changes if c)]


def _judge(
    fleet: Fleet, names: Sequence[str], before: Observed, after: Observed, settings: UseSettings
) -> List[Bound]:
    compared, agreed = _compared(fleet, names)
    agreement = agreed / max(1, compared)
    allowed = before.rejections + settings.max_rejections
    slowest = before.p95 * settings.max_slowdown
    return [
        Bound("rejected", f"{after.rejections:.1%}", f"{allowed:.1%}", after.rejections <= allowed),
        Bound("p95", f"{after.p95:.0f} ms", f"{slowest:.0f} ms", after.p95 <= slowest),
        Bound(
            f"agreement on {compared} frames",
            f"{agreement:.1%}",
            f"{settings.min_agreement:.1%}",
            agreement >= settings.min_agreement,
        ),
    ]


def _show(bounds: Sequence[Bound], console: Console) -> None:
    table = Table("", "found", "bound", "", box=None, pad_edge=False)
    for bound in bounds:
        table.add_row(bound.name, bound.found, bound.allowed, "ok" if bound.kept else "FAILED")
    console.print(table)
