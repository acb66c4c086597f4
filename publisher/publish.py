"""The publish command: images out, answers in, a summary, and an exit code that scripts can trust."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from typing import Iterable, Iterator, Optional, Sequence

from publisher.publisher import NoAnswers, Publisher
from publisher.report import Report
from publisher.settings import PublishSettings
from publisher.shrinker import Shrinker
from publisher.sources import Image, Unreadable, find_images
from publisher.spool import Spool, SpoolFull
from wire.errors import NanofleetError
from wire.private import keep_memory_private
from wire.reach import NotReached

log = logging.getLogger(__name__)

#: Seconds to wait for a broker before frames go into the spool without one.
PATIENCE = 3.0


def publish(settings: PublishSettings) -> int:
    """Send what the settings name.

    Returns:
        0 if every frame was answered (or, without waiting, taken by the broker for somebody), else 1.

    Raises:
        NanofleetError: a source is missing, or Pillow is where it is needed, or the broker refuses, or is not
            there in time.
    """
    keep_memory_private()
    images, failed = find_images(settings.sources)
    with contextlib.ExitStack() as stack:
        spool = Spool(settings.spool_folder, settings.spool_size) if settings.spool else None
        publisher = Publisher(
            settings.open_broker(),
            settings.topics,
            settings.camera,
            window=settings.window,
            # A loop goes on whatever comes back: its frames are safe in the spool.
            timeout=float("inf") if settings.loop and settings.spool else settings.timeout,
            # And one that has had a broker waits for it: it is a camera, and no job that ends.
            patience=float("inf") if settings.loop else settings.timeout,
            await_answers=settings.awaits_answers,
            spool=stack.enter_context(spool) if spool else None,
            drop_oldest=settings.spool_policy == "drop-oldest",
            resend_after=settings.resend_after,
            on_answer=lambda sent: report.done(sent),
        )
        total = None if settings.loop else len(images) + len(publisher.restored)
        report = Report(
            show_answers=settings.awaits_answers,
            total=total,
            restored=len(publisher.restored),
            failed=failed,
        )
        shrinker = stack.enter_context(Shrinker(settings.max_side)) if settings.max_side else None
        stack.enter_context(publisher)
        stack.enter_context(report)
        _send(settings, images, shrinker, publisher, report)
        if spool:
            report.left, report.spool_folder = len(spool.kept), settings.spool_folder
    report.summarise()
    if report.not_reached:
        kept = f"; {report.left} frames stay in {report.spool_folder}, for the next run" if spool else ""
        raise NanofleetError(f"{report.not_reached}{kept}")
    if report.interrupted and not settings.loop:
        return 130
    return 0 if report.complete else 1


def _send(
    settings: PublishSettings,
    images: Sequence[Image],
    shrinker: Optional[Shrinker],
    publisher: Publisher,
    report: Report,
) -> None:
    try:
        _wait_connected(settings, publisher)
        cameras = itertools.cycle(settings.camera)
        for image in _paced(itertools.cycle(images) if settings.loop else images, settings.fps):
            try:
                content = _content(image, shrinker, publisher.max_payload, report)
            except (Unreadable, _TooLarge) as error:
                report.failed(image.name, error)
                continue
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
    except NotReached as error:
        report.not_reached = str(error)


def _wait_connected(settings: PublishSettings, publisher: Publisher) -> None:
    """Wait for the broker; with a spool only for a moment, because frames can be kept without one.

    Raises:
        NotReached: there is none within --timeout, and no spool.
    """
    patience = min(PATIENCE, settings.timeout) if settings.spool else settings.timeout
    if publisher.connection.wait_connected(threading.Event(), patience):
        return
    if not settings.spool:
        raise NotReached(publisher.connection, patience)
    log.warning("no broker yet: frames are kept in %s", settings.spool_folder)


class _TooLarge(Exception):
    """The broker takes no frame of that size."""


def _content(image: Image, shrinker: Optional[Shrinker], limit: int, report: Report) -> bytes:
    """The bytes to send.

    Raises:
        Unreadable: the file is gone, or may not be read.
        _TooLarge: it has too many of them.
    """
    if shrinker is None:
        _check_size(image.size, limit, "Shrink it with --max-side 1280")
        return image.read()
    content, kept = shrinker.shrink(image.read())
    if kept:
        report.not_shrunk(image.name, kept)
    _check_size(len(content), limit, "Shrink it more" if not kept else "It cannot be shrunk")
    return content


def _check_size(size: int, limit: int, advice: str) -> None:
    if size > limit:
        raise _TooLarge(
            f"{size:,} bytes; this broker takes frames of at most {limit:,}. "
            f"{advice}, or raise the broker's limit (Mosquitto: max_packet_size)"
        )


def _paced(images: Iterable[Image], fps: Optional[float]) -> Iterator[Image]:
    due = time.monotonic()
    for image in images:
        if fps is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            # Late by more than a frame, the pace starts afresh instead of catching up in a burst.
            due = max(due + 1 / fps, time.monotonic() - 1 / fps)
        yield image
