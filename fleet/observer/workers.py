"""The workers' latest statuses: what the active observer announces of them, and the times of their clocks."""

from __future__ import annotations

import itertools
from typing import Dict, List, Optional, Tuple

from fleet.observer.worker_clocks import WorkerClocks
from wire.lengths import MAX_CHOICE
from wire.messages import WorkerStatus
from wire.topics import is_id

#: Workers whose statuses are kept.
MAX_WORKERS = 2000
#: What may be long in a status, and nobody here asks for.
_UNASKED = {"engine_why": "", "assumed": (), "inputs": ()}
#: States of a worker that answers.
_RUNS = ("online", "draining")


class Workers:
    """All calls come from one thread."""

    def __init__(self, clocks: WorkerClocks) -> None:
        """Begin without any.

        Args:
            clocks: they learn of the times in the statuses.
        """
        self._clocks = clocks
        self._statuses: Dict[str, WorkerStatus] = {}
        self._labels: Optional[Tuple[str, ...]] = None
        #: Whether these are those of the statuses.
        self._has_labels = False

    @property
    def labels(self) -> Optional[Tuple[str, ...]]:
        """The labels of all models that run, or have run last; None where one has many, or none is known."""
        if not self._has_labels:
            running = [status for status in self._statuses.values() if status.state in _RUNS]
            labels = [status.labels for status in running or self._statuses.values()]
            all_few = bool(labels) and all(labels)
            self._labels = tuple(dict.fromkeys(itertools.chain(*labels))) if all_few else None
            self._has_labels = True
        return self._labels

    @property
    def names(self) -> List[str]:
        """The workers that are known."""
        return list(self._statuses)

    def statuses(self) -> List[WorkerStatus]:
        """Their latest statuses."""
        return list(self._statuses.values())

    def of(self, name: str) -> Optional[WorkerStatus]:
        """A worker's latest status; None where it is not known."""
        return self._statuses.get(name)

    def forget(self, name: str) -> bool:
        """Take an empty status; returns whether the worker was known."""
        self._has_labels = False
        return self._statuses.pop(name, None) is not None

    def receive(self, name: str, payload: bytes, *, retained: bool) -> Optional[WorkerStatus]:
        """Take what stands on a worker's topic; returns its status, unless that is not to be kept.

        Raises:
            DecodeError: it is no status.
        """
        status = WorkerStatus.decode(payload).model_copy(update=_UNASKED)
        if sum(map(len, status.labels)) > MAX_CHOICE:
            status = status.model_copy(update={"labels": ()})
        if status.worker != name or not is_id(name):
            return None
        if name not in self._statuses and len(self._statuses) >= MAX_WORKERS:
            return None
        if status.state != "lost":  # a will is from when its worker connected
            self._clocks.note(name, status.sent_at, retained=retained)
        before = self._statuses.get(name)
        if before is None or (before.state, before.labels) != (status.state, status.labels):
            self._has_labels = False
        self._statuses[name] = status
        return status
