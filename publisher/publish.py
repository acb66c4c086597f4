"""The publish command: images out, answers in, a summary, and an exit code that scripts can trust."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import logging
import threading
import time
from typing import Callable, Iterable, Iterator, Optional, Sequence

from publisher.publisher import Publisher
from publisher.report import Report
from publisher.sent import Sent
from publisher.settings import PublishSettings
from publisher.sources import ImageFile, Unreadable, find_images
from publisher.spool import Spool, SpoolFull
from publisher.unanswered import NoAnswers, Stopped
from wire.decoder.shrinker import Shrinker
from wire.errors import NanofleetError, ReadingRefused, SettingsError
from wire.install import how_to_install
from wire.mqtt.reach import NotReached, wait_for
from wire.private import keep_memory_private
from wire.signals import stop_signals

log = logging.getLogger(__name__)

#: Seconds to wait for a broker before frames go into the spool without one.
SPOOL_TIMEOUT = 3.0


def publish(settings: PublishSettings) -> int:
    """Send what the settings name.

    Returns:
        0 if every frame was answered (or, without waiting, taken by the broker for somebody), else 1; 128
        plus the signal's number if a signal came before that, except for a loop, which has no other end.

    Raises:
        NanofleetError: a source or Pillow is missing, or the broker refuses, or is not reached in time.
    """
    keep_memory_private()
    shrinker = _make_shrinker(settings.max_side) if settings.max_side is not None else None
    images, failed = find_images(settings.sources)
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(_make_spool(settings)) if settings.spool else None
        restored = len(spool.kept) if spool else 0
        report = Report(
            awaits_answers=settings.awaits_answers,
            total=None if settings.loop else len(images) + restored,
            restored=restored,
            failed=failed + (spool.damaged if spool else 0),
            spool_folder=settings.spool_folder if spool else None,
        )
        publisher = _make_publisher(settings, spool, report.done)
        if shrinker:
            stack.enter_context(shrinker)
        signals = stack.enter_context(stop_signals(publisher.stop))
        stack.enter_context(publisher)
        with report:
            _send(settings, images, shrinker, publisher, report)
        # Before the connection is closed, which may take longer than a supervisor waits.
        report.summarise(left=len(spool.kept) if spool else 0)
    if report.failure:
        raise report.failure
    if report.interrupted and not settings.loop:
        return 128 + signals[0]  # as a shell reports a process that a signal has ended
    return 0 if report.complete else 1


def _make_shrinker(max_side: int) -> Shrinker:
    if importlib.util.find_spec("PIL") is None:
        raise SettingsError(f"--max-side needs Pillow: {how_to_install('camera')}")
    return Shrinker(max_side)


def _make_spool(settings: PublishSettings) -> Spool:
    drops_oldest = settings.spool_policy == "drop-oldest"
    return Spool(settings.spool_folder, settings.spool_size, drops_oldest=drops_oldest)


def _make_publisher(
    settings: PublishSettings, spool: Optional[Spool], on_done: Callable[[Sent], None]
) -> Publisher:
    return Publisher(
        settings.open_broker(),
        settings.topics,
        settings.camera,
        window=settings.window,
        # A loop goes on without answers: its frames are safe in the spool.
        timeout=float("inf") if settings.loop and settings.spool else settings.timeout,
        # A loop that has had a broker waits for it, too: it is a camera, and no job that ends.
        broker_timeout=float("inf") if settings.loop else settings.timeout,
        await_answers=settings.awaits_answers,
        spool=spool,
        resend_after=settings.resend_after,
        on_done=on_done,
    )


def _send(
    settings: PublishSettings,
    images: Sequence[ImageFile],
    shrinker: Optional[Shrinker],
    publisher: Publisher,
    report: Report,
) -> None:
    try:
        _wait_connected(settings, publisher)
        _send_all(settings, images, shrinker, publisher, report)
        publisher.wait()
    except Stopped:
        report.interrupted = True
    except NoAnswers as error:
        report.gave_up = str(error)
    except NanofleetError as error:
        if isinstance(error, ReadingRefused):
            publisher.set_aside_unanswerable(error.topics)
        report.failure = error


def _send_all(
    settings: PublishSettings,
    images: Sequence[ImageFile],
    shrinker: Optional[Shrinker],
    publisher: Publisher,
    report: Report,
) -> None:
    cameras = itertools.cycle(settings.camera)
    for image in _at_rate(itertools.cycle(images) if settings.loop else images, settings.fps, publisher.stop):
        try:
            content = _content(image, shrinker, publisher.max_payload, report)
        except (Unreadable, _TooLarge) as error:
            report.failed(image.name, error)
            continue
        try:
            report.sent(publisher.send(next(cameras), content, image.name, live=settings.fps is not None))
        except SpoolFull as full:
            report.not_taken(image.name, full)


def _wait_connected(settings: PublishSettings, publisher: Publisher) -> None:
    """Wait for the broker; with a spool only for a moment, because frames can be kept without one.

    Raises:
        NotReached: there is none within --timeout, and no spool.
        NanofleetError: it refuses.
    """
    timeout = min(SPOOL_TIMEOUT, settings.timeout) if settings.spool else settings.timeout
    deadline = time.monotonic() + timeout
    connection = publisher.connection
    if connection.wait_connected(publisher.stop, timeout):
        if settings.awaits_answers:  # it may refuse to let them be read, and no frame is taken then
            wait_for(
                connection,
                lambda: connection.subscribed.is_set() or publisher.stop.is_set(),
                deadline - time.monotonic(),
            )
        return
    if publisher.stop.is_set():
        raise Stopped
    if not settings.spool:
        raise NotReached(connection, timeout)
    log.warning("no broker yet: frames are kept in %s", settings.spool_folder)


class _TooLarge(Exception):
    """The broker takes no frame of that size."""


def _content(image: ImageFile, shrinker: Optional[Shrinker], limit: int, report: Report) -> bytes:
    """The bytes to send.

    Raises:
        Unreadable: the file is gone, or may not be read.
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


def _at_rate(images: Iterable[ImageFile], fps: Optional[float], stop: threading.Event) -> Iterator[ImageFile]:
    due = time.monotonic()
    for image in images:
        while (left := due - time.monotonic()) > 0 and not stop.is_set():
            time.sleep(min(left, 0.05))
        if stop.is_set():
            raise Stopped
        if fps is not None:
            # Late by more than a frame, it starts again at the rate instead of catching up in a burst.
            due = max(due + 1 / fps, time.monotonic() - 1 / fps)
        yield image
