"""The demo: the main job on real photos with real weights, from one command.

embedded broker <── publisher (this process): photos as frames of three cameras
      ^ └────────── answers
      └── worker processes, as a user would start them
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
from pathlib import Path
from typing import List, Sequence

from rich.console import Console
from rich.progress import Progress

from fleet.console import PlainConsole
from fleet.demo.settings import DemoSettings
from fleet.demo.view import PHOTOS, progress_display, show_answers, show_next_steps
from fleet.demo.workers import Workers
from fleet.embedded import with_broker
from publisher.publisher import Publisher
from publisher.sent import Sent
from publisher.sources import ImageFile, find_images

CAMERAS = ("door", "garden", "garage")


def demo(settings: DemoSettings) -> int:
    """Start the fleet, send the photos, show the answers.

    Returns:
        0 if every frame was answered, and every known photo correctly; else 1.

    Raises:
        NanofleetError: a part of the fleet did not start.
    """
    # Its workers have a session of their own, and would run on without it.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, frame: sys.exit(128 + number))
    console = PlainConsole()
    images = find_images([str(settings.images)]).images if settings.images else _photos()
    with contextlib.ExitStack() as stack:
        ready = stack.enter_context(with_broker(settings, default_port=0))
        workers = stack.enter_context(Workers(ready))
        with progress_display() as progress:
            workers.wait_online(progress)
        publisher = stack.enter_context(
            Publisher(ready.open_broker(), ready.topics, CAMERAS, window=16, timeout=60)
        )
        with progress_display() as progress:
            sent = _send_all(publisher, images, progress)
        right = show_answers(console, sent, known=settings.images is None)
        show_next_steps(console, ready, workers)
        if settings.keep:
            _keep(console, publisher, workers, images)
    return 0 if right else 1


def _photos() -> List[ImageFile]:
    import skimage  # carries the photos; nothing else of it is used

    folder = Path(skimage.__file__).parent / "data"
    return [ImageFile(name, folder / name) for name in PHOTOS]


def _send_all(publisher: Publisher, images: Sequence[ImageFile], progress: Progress) -> List[Sent]:
    task = progress.add_task("frames answered", total=len(images))
    publisher.connection.wait_connected(threading.Event())
    sent = []
    for image, camera in zip(images, itertools.cycle(CAMERAS)):
        sent.append(publisher.send(camera, image.read(), image.name))
        progress.update(task, completed=len(sent) - publisher.unanswered)
    while publisher.unanswered:
        progress.update(task, completed=len(sent) - publisher.unanswered)
        publisher.wait(at_most=0.05)
    progress.update(task, completed=len(sent))
    return sent


def _keep(console: Console, publisher: Publisher, workers: Workers, images: Sequence[ImageFile]) -> None:
    """Two frames a second, until Ctrl-C.

    Raises:
        NanofleetError: a worker ended.
    """
    console.print("Two frames a second are flowing. Ctrl-C stops the demo.")
    try:
        for image, camera in zip(itertools.cycle(images), itertools.cycle(CAMERAS)):
            publisher.send(camera, image.read(), image.name)
            time.sleep(0.5)
            workers.check()
    except KeyboardInterrupt:
        console.print("stopping")
