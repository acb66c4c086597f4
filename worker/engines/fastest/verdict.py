"""The verdict of a race: what each candidate took, whether it agrees with float32, and who has won."""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from worker.engines.base import Library, Numbers
from worker.engines.fastest.candidates import Candidate
from worker.engines.fastest.places import Unit

#: Of a picture's two best classes: one that is ahead by more than this is clearly the label.
CLEAR = 0.05
#: Two classes of which one has so much of the other's probability are as good as each other: such a picture
#: has no label that could be the same. Found with two models on 200 drawn pictures, of which one had a best
#: probability of 0.0036: no more than a rule of thumb for others.
TIE = 0.98
#: The share of pictures that must have a label: of fewer, labels show nothing.
LABELLED = 0.5
#: The share of the others that must get the same label. Those with a clear one must all get it.
SAME = 0.99
#: Probabilities differ by less, where the answers are the same to anybody.
CLOSE = 0.1
#: What is slower by no more is as fast: a measurement cannot tell. The more exact one is then taken.
NEAR = 1.05
#: Two engines take the memory of both, and more time where more is close than of the drawn pictures.
TWO_ENGINES = 1.1


class Trial(BaseModel):
    """One candidate's part in a race."""

    model_config = ConfigDict(frozen=True)

    engine: Library
    precision: Numbers
    #: What its engine says of how it runs on CUDA; empty on a CPU.
    note: str = ""
    #: Milliseconds a picture, of CPU or on CUDA, with what its close calls take.
    ms: float = Field(0, ge=0, allow_inf_nan=False)
    #: Pictures that have a label, and those of them to which it gave that; none, if it was too slow anyway.
    pictures: int = 0
    same: int = 0
    agrees: bool = False
    #: What answers its close calls again, in float32, because it would not agree without; else none.
    again: Optional[Library] = None
    #: The least gap that is no close call, and the share of pictures that have less; see `CloseCalls`.
    margin: float = Field(0, ge=0, allow_inf_nan=False)
    close: float = Field(0, ge=0, le=1)
    #: Why no other answers its close calls again, where that may be otherwise another day.
    alone: str = ""
    #: Why there are no figures.
    failed: str = ""
    #: Whether that may be otherwise the next time.
    passing: bool = False

    @property
    def candidate(self) -> Candidate:
        """Whose."""
        return Candidate(self.engine, self.precision)

    @property
    def cost(self) -> float:
        """What it is compared by."""
        return self.ms * (1 if self.again is None else TWO_ENGINES)

    @property
    def how(self) -> str:
        """What serves if it wins."""
        if self.again is None:
            return str(self.candidate)
        return f"{self.candidate} ({self.close:.0%} close calls again by {Candidate(self.again)})"

    @property
    def says(self) -> str:
        """The figures, as part of a sentence."""
        if self.failed:
            return f"{self.how} {self.failed}"
        but = (
            ""
            if self.agrees or not self.pictures
            else f", but agrees with float32 on {self.same} of {self.pictures} only"
        )
        alone = f", and together with another engine {self.alone}" if self.alone else ""
        note = self.note and f" ({self.note})"
        return f"{self.how}{note} {self.ms:.3g}{but}{alone}"


class Verdict(BaseModel):
    """All trials of a race, each library's more exact ones before those less exact."""

    model_config = ConfigDict(frozen=True)

    #: Where it is kept: another in its place is of another model.
    file: str = ""
    #: Of the libraries that took part.
    releases: Dict[str, str]
    #: What the milliseconds are of.
    unit: Unit = "ms of CPU a picture"
    trials: Tuple[Trial, ...] = Field(min_length=1)

    @property
    def winner(self) -> Trial:
        """The fastest that agrees; the first, if none does."""
        return fastest(self.trials) or self.trials[0]

    @property
    def lasts(self) -> bool:
        """Whether another race would end like this one."""
        return not any(trial.passing for trial in self.trials)

    @property
    def lasts_for_a_day(self) -> bool:
        """Whether one of another day may end otherwise.

        There may be the memory for two engines then, or CUDA's libraries where none could use the device.
        """
        return any(trial.alone for trial in self.trials) or all(trial.failed for trial in self.trials)

    @property
    def why(self) -> str:
        """Why that one."""
        winner = self.winner
        others = [trial.says for trial in self.trials if trial is not winner]
        if winner.failed:
            return "; ".join([winner.says, *others])
        first = f"{winner.how}: {winner.ms:.3g} {self.unit}"  # its engine says the note
        agrees = f"agrees with float32 on {winner.same} of {winner.pictures}"
        return "; ".join([first, *others, *([] if winner is self.trials[0] else [agrees])])


def fastest(trials: Sequence[Trial]) -> Optional[Trial]:
    """The fastest that agrees; of those that are as fast, the first, and rather one engine than two."""
    fit = sorted((trial for trial in trials if trial.agrees), key=lambda trial: trial.again is not None)
    best = min((trial.cost for trial in fit), default=0)
    return next((trial for trial in fit if trial.cost <= best * NEAR), None)


class Agreement(NamedTuple):
    """How a candidate's answers compare with float32's."""

    #: Pictures that have a label, and those of them that get it.
    pictures: int
    same: int
    enough: bool


def tells_apart(expected: NDArray[np.float32], seen_from: Optional[float] = None) -> bool:
    """Whether most pictures have a label, and not all the same: else labels show nothing of a candidate.

    Args:
        expected: as in `agreement`.
        seen_from: as in `agreement`.
    """
    expected = _of_classes(expected)
    labels = expected.argmax(1) if seen_from is None else expected >= seen_from
    labels = labels[_labelled(expected, seen_from)]
    return len(labels) >= LABELLED * len(expected) and len(np.unique(labels, axis=0)) > 1


def agreement(
    found: NDArray[np.float32], expected: NDArray[np.float32], seen_from: Optional[float] = None
) -> Agreement:
    """Compare answers, by labels and by probabilities.

    Args:
        found: [pictures, classes], probabilities of a candidate.
        expected: the same of float32.
        seen_from: the probability from which on a label is seen, where several may be; a picture's label is
            then the set of them.
    """
    finite = np.isfinite(expected)
    if found.shape != expected.shape or not np.array_equal(np.isfinite(found), finite):
        return Agreement(len(expected), 0, False)
    far = np.abs(found[finite] - expected[finite]) > CLOSE
    found, expected = _of_classes(found), _of_classes(expected)
    other = found.argmax(1) != expected.argmax(1)
    second, best = _two_best(expected)
    with np.errstate(invalid="ignore"):
        wrong = other & (best - second > CLEAR)
        if seen_from is not None:
            changed = (found >= seen_from) != (expected >= seen_from)
            other = changed.any(1)
            wrong |= (changed & (np.abs(expected - seen_from) > CLEAR)).any(1)
    labelled = _labelled(expected, seen_from)
    pictures, alike = int(labelled.sum()), int((~other)[labelled].sum())
    enough = alike >= SAME * pictures and not wrong.any() and not far.any()
    return Agreement(pictures, alike, bool(enough))


def _of_classes(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of two classes, where there is the probability of the second alone."""
    return rows if rows.shape[1] > 1 else np.concatenate([1 - rows, rows], axis=1)


def _labelled(rows: NDArray[np.float32], seen_from: Optional[float]) -> NDArray[np.bool_]:
    """Which pictures have a label; or a set of them, where none is as good as seen and as not seen."""
    if seen_from is None:
        second, best = _two_best(rows)
        labelled: NDArray[np.bool_] = ~(second > TIE * best)
        return labelled
    either = (rows > TIE * seen_from) & (rows * TIE < seen_from)
    return np.logical_not(either.any(1))


def _two_best(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """[2, pictures]: the probabilities of the second and of the best class."""
    best: NDArray[np.float32] = np.sort(rows, axis=1)[:, -2:].T
    return best
