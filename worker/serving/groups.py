"""What a model says of groups of its labels."""

from __future__ import annotations

import logging
from typing import Callable, List, Optional, Sequence, Set, Tuple

import numpy as np
from numpy.typing import NDArray

from labels.groups import UNGROUPED, Groups, assign, missing
from worker.models.info import Model

log = logging.getLogger(__name__)

#: Labels that a warning names, at most.
MOST_NAMED = 3
#: Groups of an answer, at most: the likeliest.
MOST_GROUPS = 5
#: (group, confidence), the likeliest first.
Scores = List[Tuple[str, float]]
#: float32 [classes] -> the likeliest groups.
Score = Callable[[NDArray[np.float32]], Scores]


def scorer(groups: Groups, classes: Sequence[str], threshold: Optional[float] = None) -> Optional[Score]:
    """A function from a model's probabilities to its likeliest groups; None if no class is in a group.

    Args:
        groups: labels by group.
        classes: the model's labels, in the order of its outputs.
        threshold: from where on a class is true, if several may be true at once. A group is then as likely
            as its likeliest class, of those that are; else as all of its classes together, because they
            exclude each other.
    """
    of = np.array(assign(groups, classes))
    order = np.argsort(of, kind="stable")[np.count_nonzero(of == UNGROUPED) :]
    present, begins = np.unique(of[order], return_index=True)
    if not order.size:
        return None
    names = [list(groups)[at] for at in present]

    def totals_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        if threshold is None:
            return np.add.reduceat(probabilities, begins)
        return np.maximum.reduceat(np.where(probabilities >= threshold, probabilities, 0), begins)

    def score(probabilities: NDArray[np.float32]) -> Scores:
        totals = totals_of(probabilities[order])
        best = np.argsort(-totals, kind="stable")[:MOST_GROUPS]
        return [(names[at], min(max(float(totals[at]), 0.0), 1.0)) for at in best if totals[at] > 0]

    return score


class Grouping:
    """Groups of labels, for whichever model is in service. Any thread may ask."""

    def __init__(self, groups: Groups, camera: str = "") -> None:
        """Take labels by group.

        Args:
            groups: labels by group.
            camera: whose own they are; empty for those of the package.
        """
        self._groups = groups
        self._camera = camera
        self._latest: Optional[Tuple[Model, Optional[Score]]] = None
        self._warned: Set[str] = set()

    def scores(self, model: Model, probabilities: NDArray[np.float32]) -> Optional[Scores]:
        """A model's likeliest groups, by float32 [classes]; None if none of its labels is in a group."""
        latest = self._latest
        if latest is None or latest[0] is not model:
            score = scorer(self._groups, model.classes, model.seen_from)
            self._latest = latest = (model, score)
            self._warn(model, has_groups=score is not None)
        return latest[1] and latest[1](probabilities)

    def _warn(self, model: Model, *, has_groups: bool) -> None:
        """Say once what these groups and a model's labels do not have in common: both go by names."""
        whose = f"of camera {self._camera}" if self._camera else "that come with nanofleet"
        unknown = missing(self._groups, model.classes) if self._camera else []
        if not has_groups:
            text = (
                f"none of the labels of {model.name} is in the groups {whose}: the group is always none; "
                f"nanofleet cameras set {self._camera or 'CAMERA'} groups=FILE.toml gives it groups of these"
            )
        elif unknown:
            named = ", ".join(map(repr, unknown[:MOST_NAMED])) + (", …" if unknown[MOST_NAMED:] else "")
            text = f"groups {whose}: {model.name} has no label {named} ({len(unknown)} of them)"
        else:
            return
        if text not in self._warned:  # two models may take turns
            self._warned.add(text)
            log.warning("%s", text)
