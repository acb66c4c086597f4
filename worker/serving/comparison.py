"""The former model beside the one that serves, on live pictures: does it say the same?

          picture
            ├──> the model that serves ──> Result
one at a time └> the former one ─────────> its label, counted as agreeing or not; nothing of it is published
"""

from __future__ import annotations

import threading
from typing import List, Optional

from worker.errors import FrameError
from worker.serving.job import Job, Outcome, never, nothing
from worker.serving.loaded import LoadedModel


class Comparison:
    """How often the former model says the same, on pictures taken one at a time.

    One at a time, so that comparing never costs more than one picture's work beside a batch. Meanwhile the
    model that serves repeats no earlier answer (`Job.repeat`): it is what the former one is compared with.

    Attributes:
        former: the model.
        compared: pictures that both have classified.
        agreed: those of them for which both had the same label first.
    """

    def __init__(self, former: LoadedModel) -> None:
        self.former = former
        self.compared = 0
        self.agreed = 0
        self._busy = False

    def take(self, job: Job, image: bytes) -> Job:
        """Have the former model classify a picture too, if it is not at another one.

        Returns:
            What the model that serves is to do with it.
        """
        job = job._replace(repeat=never)
        if self._busy:
            return job
        self._busy = True
        pair = _Pair(self)
        self.former.submit(Job(nothing, pair.receive, nothing, job.region), image)

        def done(outcome: Outcome) -> None:
            pair.receive(outcome)
            job.done(outcome)

        return job._replace(done=done)

    def count(self, same: Optional[bool]) -> None:
        """A picture is through both models; None: one of them had no answer to it."""
        if same is not None:
            self.compared += 1
            self.agreed += same
        self._busy = False


class _Pair:
    """The outcomes of both models for one picture."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._outcomes: List[Outcome] = []
        self._lock = threading.Lock()

    def receive(self, outcome: Outcome) -> None:
        """Take the outcome of one of the two; in a thread of its model's."""
        with self._lock:
            self._outcomes.append(outcome)
            if len(self._outcomes) < 2:
                return
        labels = [each.label for each in self._outcomes if not isinstance(each, FrameError)]
        self._comparison.count(labels[0] == labels[1] if len(labels) == 2 else None)
