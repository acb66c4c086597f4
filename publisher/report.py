"""What the user of `publish` sees, and what its exit code says."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Dict, Optional, Set, Union

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from publisher.refused import reason
from publisher.sent import Sent
from publisher.spool import SpoolFull
from publisher.tally import Tally
from wire.errors import NanofleetError
from wire.log_lines import NAMED_ONCE
from wire.messages import Rejection, Result
from wire.printable import printable

log = logging.getLogger(__name__)


class Report:
    """What the user sees: a line for each answer, progress on a terminal, and the summary."""

    def __init__(
        self,
        *,
        awaits_answers: bool,
        total: Optional[int],
        restored: int = 0,
        failed: int = 0,
        spool_folder: Optional[Path] = None,
    ) -> None:
        """Begin with nothing sent.

        Args:
            awaits_answers: whether frames are done with their answers, each of which is printed.
            total: frames to be sent, if that is known.
            restored: frames that an earlier run has left in the spool.
            failed: files, or frames in the spool, that could not be sent, and were named already.
            spool_folder: where the spool is, if there is one.
        """
        self.interrupted = False
        #: Why nothing more was waited for, if that is so.
        self.gave_up = ""
        #: What ended it, as a broker that was not there in time; its text will say what stays, too.
        self.failure: Optional[NanofleetError] = None
        self._awaits_answers = awaits_answers
        self._total = total
        self._failed_before = failed
        self._spool_folder = spool_folder
        self._tally = Tally(restored=restored, sent=restored)
        #: Why each file that cannot be sent cannot, by its name; a loop comes by again and again.
        self._failed: Dict[str, str] = {}
        self._not_shrunk: Set[str] = set()
        # A text is what it says: no markup, no emoji.
        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._progress = _progress(self._out)
        self._task = self._progress.add_task("connecting", total=total)

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def sent(self, sent: Sent) -> None:
        """A frame has been handed to the connection."""
        self._tally.sent += 1
        self._progress.update(self._task, description="answered" if self._awaits_answers else "taken")

    def not_taken(self, name: str, full: SpoolFull) -> None:
        """The spool has no room for a frame."""
        self._tally.not_taken += 1
        log.warning("%s: not taken: %s", name, full)

    def not_shrunk(self, name: str, why: str) -> None:
        """A file is sent as it is, although it is too large."""
        if name not in self._not_shrunk:
            log.warning("%s: not shrunk: %s", name, why, extra=NAMED_ONCE)
        self._not_shrunk.add(name)

    def failed(self, name: str, error: Exception) -> None:
        """A file cannot be sent; the others go on."""
        if name not in self._failed:
            why = str(error).replace(f"{name}: ", "", 1)
            log.warning("%s: not sent: %s", name, why, extra=NAMED_ONCE)
        self._failed[name] = str(error)
        self._progress.advance(self._task)

    def done(self, sent: Sent) -> None:
        """A frame is done."""
        self._progress.advance(self._task)
        self._tally.count(sent)
        if sent.answer is not None:
            self._print_answer(sent, sent.answer)
        elif sent.unreadable and not sent.dropped:
            log.error("%s: lost from the spool: %s", sent.source, sent.unreadable, extra=NAMED_ONCE)
        elif sent.refused and not sent.dropped:
            assert sent.reason_code is not None
            why = reason(sent.reason_code)
            log.warning("%s, camera %s: refused by the broker: %s", sent.source, sent.camera, why)

    def _print_answer(self, sent: Sent, answer: Union[Result, Rejection]) -> None:
        if isinstance(answer, Result):
            label = f"{answer.label} {answer.confidence:.2f}"
        else:
            label = f"rejected: {answer.reason.value} ({answer.detail})"
        line = f"{sent.source}  {sent.camera}  {label}  {sent.milliseconds:.0f} ms  {answer.worker}"
        self._out.print(printable(line))

    @property
    def complete(self) -> bool:
        """Whether every file was sent, and answered, or taken for somebody if nobody waits for answers."""
        failed = self._failed_before + len(self._failed)
        return self._tally.sent == self._tally.answered and not (
            self._tally.not_taken or failed or self.gave_up or self.failure
        )

    def summarise(self, left: int) -> None:
        """Print the counts, the time from sending to answer, and what becomes of frames without one.

        Args:
            left: frames that stay in the spool.
        """
        not_sent = self._failed_before + len(self._failed) + self._not_tried()
        counts = self._tally.line(awaits_answers=self._awaits_answers, not_sent=not_sent)
        self._out.print(printable(counts))
        if self._tally.refused and self._spool_folder:
            self._out.print("What was refused is set aside: see nanofleet spool list")
        remains = self._remains(left, self._tally.not_done)
        if remains and self.failure:
            self.failure.args = (f"{self.failure}; {remains}",)
        elif remains:
            because = f"{self.gave_up}: " if self.gave_up else ""
            self._out.print(printable(because + remains))

    def _not_tried(self) -> int:
        """Files whose turn did not come."""
        if self._total is None or not (self.gave_up or self.failure or self.interrupted):
            return 0
        return self._total - self._tally.sent - len(self._failed) - self._tally.not_taken

    def _remains(self, left: int, not_done: int) -> str:
        if left:
            stay, them = ("1 frame stays", "it") if left == 1 else (f"{left} frames stay", "them")
            return f"{stay} in the spool, and the next run sends {them}: {self._spool_folder}"
        if not_done and not self._spool_folder and (self.interrupted or self.failure):
            done = "answered" if self._awaits_answers else "confirmed by the broker"
            were, them = ("was", "it") if not_done == 1 else ("were", "them")
            return f"{not_done} of the frames that were sent {were} not {done}, and nobody sends {them} again"
        return ""


def _progress(out: Console) -> Progress:
    """A bar on the terminal, of the console that prints the answers, so that they go above it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out if sys.stdout.isatty() else Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
