"""`nanofleet models use --canary N`: a few workers change first, and are judged by live frames.

frames before ──> N workers change and compare ──> within bounds? ── yes ──> the fleet
rejections, p95                                                  └── no ───> the N go back
"""

from __future__ import annotations

import statistics
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Iterator, List, NamedTuple, Sequence, Tuple

from rich.console import Console
from rich.table import Table

from fleet.console import plain
from fleet.models.change import retain, take_back, wait_for_all
from fleet.models.settings import UseSettings
from fleet.workers.roster import online
from fleet.workers.watch import Fleet, Outcome
from wire.errors import NanofleetError
from wire.messages import ModelCommand


@dataclass
class Observed:
    """What some workers answered over a while."""

    total_ms: List[float] = field(default_factory=list)
    rejected: int = 0
    repeated: int = 0

    def add(self, answer: Outcome) -> None:
        """Count an answer of theirs; one that repeats an earlier one says nothing of a model."""
        if answer.repeats:
            self.repeated += 1
        elif answer.total_ms is None:
            self.rejected += 1
        else:
            self.total_ms.append(answer.total_ms)

    @property
    def frames(self) -> int:
        """Answers to judge by: rejections, and those of a model."""
        return len(self.total_ms) + self.rejected

    @property
    def rejections(self) -> float:
        """Share of all frames that were rejected, whether a model has seen the others or not.

        Without the repeated ones the share before the change would be that of still cameras' few classified
        frames, and the bound so much the looser: with the new model, all are classified.
        """
        return self.rejected / max(1, self.frames + self.repeated)

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


def use_with_canary(fleet: Fleet, settings: UseSettings, console: Console) -> int:
    """Change a few workers, judge them, and change the fleet or let the few go back.

    Returns:
        0 if every worker that should now runs the model, else 1.

    Raises:
        NanofleetError: there are too few workers to try it on, or too few frames to judge them by.
    """
    trial = Trial(fleet, settings, console)
    before, enough = trial.observe("as they are")
    if not enough:
        still = f", beside {before.repeated} that no model has seen (skip_still)" if before.repeated else ""
        raise NanofleetError(
            f"{before.frames} frames came within {settings.timeout:g} s{still}, and a canary is judged by "
            f"{settings.canary_frames} before and after; nothing was changed"
        )
    with trial.changed() as changed:
        if not changed:
            console.print("the canaries could not change: rolling back")
            return 1
        after, enough = trial.observe("with the new model", compare=True)
        bounds = trial.judge(before, after)
        _show(bounds, console)
        if not enough:
            console.print("too few frames: rolling back")
            return 1
        if not all(bound.kept for bound in bounds):
            console.print("out of bounds: rolling back")
            return 1
        # Before the canaries' own commands are taken back, so that they change nothing meanwhile.
        command = retain(fleet, settings)
        console.print("within bounds: on to the whole fleet")
    return 0 if wait_for_all(fleet, online(fleet), command, settings.timeout, console, alone=False) else 1


class Trial:
    """A new model on a few workers: the canaries."""

    def __init__(self, fleet: Fleet, settings: UseSettings, console: Console) -> None:
        """Choose the canaries among the workers that would follow a command.

        Args:
            fleet: connected, with its answers.
            settings: the model, how many canaries, and the bounds.
            console: where the progress is shown.

        Raises:
            NanofleetError: there are too few.
        """
        self._fleet, self._settings, self._console = fleet, settings, console
        there = online(fleet)
        free = [
            name
            for name in there
            if fleet.statuses[name].accepts_control and fleet.topics.model_command(name) not in fleet.commands
        ]
        if len(free) < settings.canary:
            others = len(there) - len(free)
            raise NanofleetError(
                f"--canary {settings.canary}: {len(there)} workers are online"
                + (
                    f", and {others} of them have --ignore-control or a command of their own"
                    if others
                    else ""
                )
            )
        self._names = free[: settings.canary]

    def observe(self, how: str, *, compare: bool = False) -> Tuple[Observed, bool]:
        """Follow live frames until there are enough to judge by, or the time is over.

        Args:
            how: what the canaries serve meanwhile, for people.
            compare: whether they compare the two models, and frames count once both have answered.

        Returns:
            What was observed, and whether it is enough.
        """
        observed = Observed()
        self._fleet.take_answers()

        def enough() -> bool:
            for answer in self._fleet.take_answers():
                if answer.worker in self._names:
                    observed.add(answer)
            seen, wanted = self._seen(observed, compare), self._settings.canary_frames
            status.update(plain(f"{', '.join(self._names)} {how}: {seen} of {wanted} frames"))
            return seen >= wanted

        with self._console.status("") as status:
            return observed, self._fleet.wait_for(enough, self._settings.timeout)

    def _seen(self, observed: Observed, compare: bool) -> int:
        return min(observed.frames, self._compared()[0]) if compare else observed.frames

    def _compared(self) -> List[int]:
        """The frames on which the canaries compared both models, and on how many these agreed."""
        changes = [self._fleet.statuses[name].change for name in self._names]
        return [sum(c.compared for c in changes if c), sum(c.agreed for c in changes if c)]

    @contextmanager
    def changed(self) -> Iterator[bool]:
        """Change the canaries while the block lasts; yields whether all could. At its end they go back."""
        fleet, settings = self._fleet, self._settings
        command = ModelCommand(id=uuid.uuid4().hex[:12], choice=settings.choice, compare=True)
        topics = {fleet.topics.model_command(name): [name] for name in self._names}
        given = command.encode()
        try:
            for topic in topics:
                fleet.retain(topic, given)
            yield wait_for_all(fleet, self._names, command, settings.timeout, self._console, alone=True)
        finally:
            # A command that came from elsewhere meanwhile stays in force.
            ours = {
                topic: names for topic, names in topics.items() if fleet.commands.get(topic, given) == given
            }
            take_back(fleet, ours, settings.timeout, self._console)

    def judge(self, before: Observed, after: Observed) -> List[Bound]:
        """What was found after the change, and what is allowed by what was found before."""
        settings = self._settings
        compared, agreed = self._compared()
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
