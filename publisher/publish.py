"""The publish command: images out, answers in, a summary, and an exit code that scripts can trust."""

from __future__ import annotations

import contextlib
import itertools
import logging
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from publisher.publisher import NoAnswers, Publisher, Sent
from publisher.settings import PublishSettings
from publisher.shrink import shrink
from publisher.sources import Image, find_images
from publisher.spool import Spool, SpoolFull
from wire.errors import SettingsError
from wire.messages import Rejection, Result
from wire.outgoing import PACKET_TOO_LARGE
from wire.printable import printable

log = logging.getLogger(__name__)

#: Seconds to wait for a broker before frames go into the spool without one.
PATIENCE = 3.0


def publish(settings: PublishSettings) -> int:
    """Send what the settings name.

    Returns:
        0 if every frame was answered (or, without waiting, taken by the broker for somebody), else 1.

    Raises:
        NanofleetError: a source is missing, an image too large, or the broker refuses.
    """
    images = find_images(settings.sources)
    with contextlib.ExitStack() as stack:
        spool = Spool(settings.spool_folder, settings.spool_size) if settings.spool else None
        publisher = Publisher(
            settings.open_broker(),
            settings.topics,
            settings.camera,
            window=settings.window,
            # A loop goes on whatever comes back: its frames are safe in the spool.
            timeout=float("inf") if settings.loop and settings.spool else settings.timeout,
            await_answers=settings.awaits_answers,
            spool=stack.enter_context(spool) if spool else None,
            drop_oldest=settings.spool_policy == "drop-oldest",
            resend_after=settings.resend_after,
            on_answer=lambda sent: report.done(sent),
        )
        total = None if settings.loop else len(images) + len(publisher.restored)
        report = Report(show_answers=settings.awaits_answers, total=total, restored=len(publisher.restored))
        stack.enter_context(publisher)
        stack.enter_context(report)
        _send(settings, images, publisher, report)
        if spool:
            report.left, report.spool_folder = len(spool.kept), settings.spool_folder
    report.summarise()
    if report.interrupted and not settings.loop:
        return 130
    return 0 if report.complete else 1


def _send(settings: PublishSettings, images: Sequence[Image], publisher: Publisher, report: Report) -> None:
    try:
        if _connected(settings, publisher) and settings.max_side is None:
            _check_sizes(images, publisher.max_payload)
        cameras = itertools.cycle(settings.camera)
        for image in _paced(itertools.cycle(images) if settings.loop else images, settings.fps):
            content = image.read()
            if settings.max_side is not None:
                content = shrink(content, settings.max_side)
                _check_size(image.name, len(content), publisher.max_payload)
            try:
                report.sent(
                    publisher.send(next(cameras), content, image.name, paced=settings.fps is not None)
                )
            except SpoolFull as full:
                report.not_taken(image.name, full)
        publisher.wait()
    except KeyboardInterrupt:
        report.interrupted = True
    except NoAnswers as error:
        report.gave_up = str(error)


def _connected(settings: PublishSettings, publisher: Publisher) -> bool:
    """Wait for the broker; with a spool only for a moment, because frames can be kept without one."""
    patience = PATIENCE if settings.spool else float("inf")
    connected = publisher.connection.wait_connected(threading.Event(), patience)
    if not connected:
        log.warning("no broker yet: frames are kept in %s", settings.spool_folder)
    return connected


def _check_sizes(images: Sequence[Image], limit: int) -> None:
    for image in images:
        _check_size(image.name, image.size, limit)


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise SettingsError(
            f"{name}: {size:,} bytes; this broker takes frames of at most {limit:,}. "
            "Shrink it with --max-side 1280, or raise the broker's limit (Mosquitto: max_packet_size)"
        )


def _paced(images: Iterable[Image], fps: Optional[float]) -> Iterator[Image]:
    due = time.monotonic()
    for image in images:
        if fps is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            # Late by more than a frame, the pace starts afresh instead of catching up in a burst.
            due = max(due + 1 / fps, time.monotonic() - 1 / fps)
        yield image


class Report:
    """What the user sees: a line for each answer, progress on a terminal, and the summary."""

    def __init__(self, *, show_answers: bool, total: Optional[int], restored: int = 0) -> None:
        """Args:
        show_answers: whether to print a line for each.
        total: frames to be sent, if that is known.
        restored: frames that an earlier run has left in the spool.
        """
        self.interrupted = False
        #: Why nothing more was waited for, if that is so.
        self.gave_up = ""
        #: Frames that stay in the spool, and where that is.
        self.left = 0
        self.spool_folder: Optional[Path] = None
        self._show_answers = show_answers
        self._restored = restored
        self._sent = restored
        self._not_taken = self._dropped = self._unreadable = 0
        self._answered = self._rejected = self._refused = self._undelivered = 0
        self._milliseconds: List[float] = []
        self._out = Console(highlight=False, soft_wrap=True)
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

    def done(self, sent: Sent) -> None:
        """A frame is done."""
        self._progress.advance(self._task)
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
            too_large = sent.reason_code == PACKET_TOO_LARGE
            why = "it is larger than it takes" if too_large else f"reason code 0x{sent.reason_code:02x}"
            log.warning("%s, camera %s: refused by the broker: %s", sent.source, sent.camera, why)
        elif sent.reason_code == 0:
            self._answered += 1
        else:
            self._undelivered += 1
        if sent.answer is not None:
            line = f"{sent.source}  {sent.camera}  {label}  {sent.milliseconds:.0f} ms  {sent.answer.worker}"
            self._out.print(printable(line), markup=False)

    @property
    def complete(self) -> bool:
        """Whether every frame was answered, or taken for somebody if nobody waits for answers."""
        return self._sent == self._answered and not (self._not_taken or self.gave_up)

    def summarise(self) -> None:
        """Print the counts, and the time from sending to answer."""
        given_up = self._refused + self._undelivered + self._dropped + self._unreadable
        missing = self._sent - self._answered - self._rejected - given_up
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
        self._out.print(line, markup=False)
        if self.left:
            because = f"{self.gave_up}: " if self.gave_up else ""
            kept = f"{self.left} stay in the spool, for the next run: {self.spool_folder}"
            self._out.print(because + kept, markup=False)
