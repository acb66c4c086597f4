"""What the user of `publish` sees, and what its exit code says."""

from __future__ import annotations

import logging
import statistics
import sys
from pathlib import Path
from typing import Dict, List, Optional, Set

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from publisher.refused import reason
from publisher.sent import Sent
from publisher.spool import SpoolFull
from wire.errors import NanofleetError
from wire.messages import Rejection, Result
from wire.printable import printable

log = logging.getLogger(__name__)


class Report:
    """What the user sees: a line for each answer, progress on a terminal, and the summary."""

    def __init__(
        self,
        *,
        show_answers: bool,
        total: Optional[int],
        restored: int = 0,
        failed: int = 0,
        spool_folder: Optional[Path] = None,
    ) -> None:
        """Args:
        show_answers: whether to print a line for each.
        total: frames to be sent, if that is known.
        restored: frames that an earlier run has left in the spool.
        failed: files that could not be sent, and were named already.
        spool_folder: where the spool is, if there is one.
        """
        self.interrupted = False
        #: Why nothing more was waited for, if that is so.
        self.gave_up = ""
        #: What ended it, as a broker that was not there in time; its text will say what stays, too.
        self.failure: Optional[NanofleetError] = None
        self._spool_folder = spool_folder
        self._show_answers = show_answers
        self._total = total
        self._restored = restored
        self._sent = restored
        self._not_taken = self._dropped = self._unreadable = 0
        self._failed_before = failed
        #: Why each file that cannot be sent cannot, by its name; a loop comes by again and again.
        self._failed: Dict[str, str] = {}
        self._not_shrunk: Set[str] = set()
        self._answered = self._rejected = self._refused = self._undelivered = 0
        self._milliseconds: List[float] = []
        # A text is what it says: no markup, no emoji.
        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            # Of one console, so that on a terminal the answers go above the bar.
            console=self._out if sys.stdout.isatty() else Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("connecting", total=total)

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def sent(self, sent: Sent) -> None:
        """A frame has been handed to the connection."""
        self._sent += 1
        self._progress.update(self._task, description="answered" if self._show_answers else "taken")

    def not_taken(self, name: str, full: SpoolFull) -> None:
        """The spool has no room for a frame."""
        self._not_taken += 1
        log.warning("%s: not taken: %s", name, full)

    def not_shrunk(self, name: str, why: str) -> None:
        """A file is sent as it is, although it is too large."""
        if name not in self._not_shrunk:
            log.warning("%s: not shrunk: %s", name, why)
        self._not_shrunk.add(name)

    def failed(self, name: str, error: Exception) -> None:
        """A file cannot be sent; the others go on."""
        if name not in self._failed:
            log.warning("%s: not sent: %s", name, str(error).replace(f"{name}: ", "", 1))
        self._failed[name] = str(error)
        self._progress.advance(self._task)

    def done(self, sent: Sent) -> None:
        """A frame is done."""
        self._progress.advance(self._task)
        # How soon the broker refuses, or the disk drops, says nothing of how soon answers come.
        if sent.answer is not None or not (sent.dropped or sent.unreadable or sent.refused):
            self._milliseconds.append(sent.milliseconds)
        if isinstance(sent.answer, Result):
            self._answered += 1
            label = f"{sent.answer.label} {sent.answer.confidence:.2f}"
        elif isinstance(sent.answer, Rejection):
            self._rejected += 1
            label = f"rejected: {sent.answer.reason.value} ({sent.answer.detail})"
        elif sent.dropped:
            self._dropped += 1
        elif sent.unreadable:
            self._unreadable += 1
            log.error("%s: lost from the spool: %s", sent.source, sent.unreadable)
        elif sent.refused:
            self._refused += 1
            assert sent.reason_code is not None
            why = reason(sent.reason_code)
            log.warning("%s, camera %s: refused by the broker: %s", sent.source, sent.camera, why)
        elif sent.reason_code == 0:
            self._answered += 1
        else:
            self._undelivered += 1
        if sent.answer is not None:
            line = f"{sent.source}  {sent.camera}  {label}  {sent.milliseconds:.0f} ms  {sent.answer.worker}"
            self._out.print(printable(line))

    @property
    def complete(self) -> bool:
        """Whether every file was sent, and answered, or taken for somebody if nobody waits for answers."""
        failed = self._failed_before + len(self._failed)
        return self._sent == self._answered and not (
            self._not_taken or failed or self.gave_up or self.failure
        )

    def _not_tried(self) -> int:
        """Files whose turn did not come."""
        if self._total is None or not (self.gave_up or self.failure or self.interrupted):
            return 0
        return self._total - self._sent - len(self._failed) - self._not_taken

    def summarise(self, left: int) -> None:
        """Print the counts, the time from sending to answer, and what becomes of frames without one.

        Args:
            left: frames that stay in the spool.
        """
        given_up = self._refused + self._undelivered + self._dropped + self._unreadable
        missing = self._sent - self._answered - self._rejected - given_up
        self._out.print(printable(self._counts(missing)))
        if self._refused and self._spool_folder:
            self._out.print("What was refused is set aside: see nanofleet spool list")
        remains = self._remains(left, missing)
        if remains and self.failure:
            self.failure.args = (f"{self.failure}; {remains}",)
        elif remains:
            because = f"{self.gave_up}: " if self.gave_up else ""
            self._out.print(printable(because + remains))

    def _remains(self, left: int, missing: int) -> str:
        if left:
            stay, them = ("1 frame stays", "it") if left == 1 else (f"{left} frames stay", "them")
            return f"{stay} in the spool, and the next run sends {them}: {self._spool_folder}"
        if missing and not self._spool_folder and (self.interrupted or self.failure):
            done = "answered" if self._show_answers else "confirmed by the broker"
            were, them = ("was", "it") if missing == 1 else ("were", "them")
            return f"{missing} of the frames that were sent {were} not {done}, and nobody sends {them} again"
        return ""

    def _counts(self, missing: int) -> str:
        if not self._show_answers:
            line = f"sent {self._sent}, taken by the broker {self._answered}"
            if self._undelivered:
                line += f", for nobody {self._undelivered} (no worker reads this topic)"
            if missing:
                line += f", missing {missing}"
        else:
            line = (
                f"sent {self._sent}, answered {self._answered}, rejected {self._rejected}, missing {missing}"
            )
        not_sent = self._failed_before + len(self._failed) + self._not_tried()
        if not_sent:
            line += f", not sent {not_sent}"
        if self._restored:
            line += f", {self._restored} of them from an earlier run"
        if self._dropped:
            line += f", dropped to make room {self._dropped}"
        if self._unreadable:
            line += f", lost from the spool {self._unreadable}"
        if self._not_taken:
            line += f", not taken because the spool was full {self._not_taken}"
        if self._refused:
            line += f", refused by the broker {self._refused}"
        if len(self._milliseconds) > 1:
            cuts = statistics.quantiles(self._milliseconds, n=20, method="inclusive")
            line += f"; p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms"
        elif self._milliseconds:
            line += f"; {self._milliseconds[0]:.0f} ms"
        return line
