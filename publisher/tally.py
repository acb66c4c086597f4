"""What became of a run's frames, in numbers, and the line that says so."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import List

from publisher.sent import Sent
from wire.messages import Rejection, Result


@dataclass
class Tally:
    """What became of a run's frames."""

    #: Frames that an earlier run has left in the spool.
    restored: int = 0
    #: Handed to the connection or the spool, those of an earlier run among them.
    sent: int = 0
    #: With a Result; without waiting for one, taken by the broker for somebody.
    answered: int = 0
    rejected: int = 0
    #: By the broker.
    refused: int = 0
    #: Taken by the broker for nobody.
    undelivered: int = 0
    #: Given up, to make room in the spool.
    dropped: int = 0
    #: Frames that the spool could not read.
    unreadable: int = 0
    #: The spool had no room.
    not_taken: int = 0
    #: From sending to answer, of each.
    milliseconds: List[float] = field(default_factory=list)

    def count(self, sent: Sent) -> None:
        """A frame is done."""
        # How soon the broker refuses, or the disk drops, says nothing of how soon answers come.
        if sent.answer is not None or not (sent.dropped or sent.unreadable or sent.refused):
            self.milliseconds.append(sent.milliseconds)
        if isinstance(sent.answer, Result):
            self.answered += 1
        elif isinstance(sent.answer, Rejection):
            self.rejected += 1
        elif sent.dropped:
            self.dropped += 1
        elif sent.unreadable:
            self.unreadable += 1
        elif sent.refused:
            self.refused += 1
        elif sent.reason_code == 0:
            self.answered += 1
        else:
            self.undelivered += 1

    @property
    def not_done(self) -> int:
        """Frames that are given up as missing, or stay in the spool."""
        given_up = self.refused + self.undelivered + self.dropped + self.unreadable
        return self.sent - self.answered - self.rejected - given_up

    def line(self, *, awaits_answers: bool, not_sent: int) -> str:
        """All that is worth a word.

        Args:
            awaits_answers: whether frames were done with their answers, or with their PUBACKs.
            not_sent: files that were not sent.
        """
        if awaits_answers:
            line = f"sent {self.sent}, answered {self.answered}, rejected {self.rejected}"
            line += f", missing {self.not_done}"
        else:
            line = f"sent {self.sent}, taken by the broker {self.answered}"
            if self.undelivered:
                line += f", for nobody {self.undelivered} (no worker reads this topic)"
            if self.not_done:
                line += f", missing {self.not_done}"
        if not_sent:
            line += f", not sent {not_sent}"
        if self.restored:
            line += f", {self.restored} of them from an earlier run"
        if self.dropped:
            line += f", dropped to make room {self.dropped}"
        if self.unreadable:
            line += f", lost from the spool {self.unreadable}"
        if self.not_taken:
            line += f", not taken because the spool was full {self.not_taken}"
        if self.refused:
            line += f", refused by the broker {self.refused}"
        return line + self._times()

    def _times(self) -> str:
        if len(self.milliseconds) > 1:
            cuts = statistics.quantiles(self.milliseconds, n=20, method="inclusive")
            return f"; p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms"
        return f"; {self.milliseconds[0]:.0f} ms" if self.milliseconds else ""
