"""The demo: the main job on real photos with real weights, from one command.

embedded broker <── publisher (this process): photos as frames of three cameras
      ^ └────────── answers
      └── worker processes, as a user would start them
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fleet.console import PlainConsole, plain
from fleet.demo.settings import DemoSettings
from fleet.embedded import with_broker
from fleet.ports import free_port
from publisher.publisher import Publisher
from publisher.sent import Sent
from publisher.sources import ImageFile, find_images
from wire.broker import BrokerSettings
from wire.errors import DecodeError, NanofleetError
from wire.flags import flag_of
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import Rejection, Result, WorkerStatus
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.printable import printable
from wire.settings import PASSWORD_VARIABLE, Settings, child_environment

CAMERAS = ("door", "garden", "garage")
#: scikit-image's photos, and what ImageNet calls what they show.
PHOTOS: Dict[str, str] = {
    "coffee.png": "espresso",
    "rocket.jpg": "missile",
    "chelsea.png": "Egyptian cat",
    "motorcycle_left.png": "moped",
    "motorcycle_right.png": "moped",
    "camera.png": "tripod",
}
START_TIMEOUT = 300.0


def demo(settings: DemoSettings) -> int:
    """Start the fleet, send the photos, show the answers.

    Returns:
        0 if every frame was answered, and every known photo rightly; else 1.

    Raises:
        NanofleetError: a part of the fleet did not start.
    """
    # Its workers have a session of their own, and would live on without it.
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
        right = _show(console, sent, known=settings.images is None)
        _show_next_steps(console, ready, workers)
        if settings.keep:
            _keep(console, publisher, workers, images)
    return 0 if right else 1


def _photos() -> List[ImageFile]:
    import skimage  # carries the photos; nothing else of it is used

    folder = Path(skimage.__file__).parent / "data"
    return [ImageFile(name, folder / name) for name in PHOTOS]


def progress_display() -> Progress:
    """Progress on stderr, gone when it is done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@dataclass
class Member:
    """One worker process of the demo."""

    worker_id: str
    metrics_port: int
    log: Path
    process: subprocess.Popen[bytes]

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


class Workers:
    """The demo's worker processes, as a context manager: leaving stops them."""

    def __init__(self, settings: DemoSettings) -> None:
        """Args:
        settings: with a broker that runs.
        """
        self._settings = settings
        self._online: Dict[str, WorkerStatus] = {}
        self.members: List[Member] = []

    def __enter__(self) -> Workers:
        self._folder = tempfile.TemporaryDirectory(prefix="nanofleet-demo-")
        try:
            for number in range(1, self._settings.workers + 1):
                with _undisturbed():  # one that has started must be known, to be ended
                    self.members.append(self._start(f"demo-{number}"))
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for member in self.members:
            member.process.terminate()
        for member in self.members:
            try:
                member.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        self._folder.cleanup()

    def _start(self, worker_id: str) -> Member:
        settings, folder = self._settings, Path(self._folder.name)
        port = free_port()
        command = [sys.executable, "-m", "fleet", "worker"]
        # All by which the demo finds its broker, its workers need as well.
        shared = set(BrokerSettings.model_fields) - set(Settings.model_fields)
        flags = {
            **{flag_of(name): getattr(settings, name) for name in sorted(shared)},
            "--group": "demo",
            "--worker-id": worker_id,
            "--model": settings.model,
            "--metrics-port": port,
            "--state-dir": folder,
        }
        command += [str(part) for flag in flags.items() if flag[1] is not None for part in flag]
        log = folder / f"{worker_id}.log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is the demo's, which then stops its workers.
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=_worker_environment(), start_new_session=True
            )
        return Member(worker_id, port, log, process)

    def wait_online(self, progress: Progress) -> None:
        """Wait until every worker has announced itself.

        Raises:
            NanofleetError: one of them ended, or took too long; the text holds the end of its log.
        """
        settings, total = self._settings, len(self.members)
        task = progress.add_task(
            printable(f"starting {total} worker(s), loading {settings.model}"), total=total
        )
        deadline = time.monotonic() + START_TIMEOUT
        with Connection(
            settings.open_broker(),
            "nanofleet-demo-watch",
            on_delivery=self._hear,
            subscriptions={settings.topics.worker("+"): 1},
            largest_packet=MAX_ANSWER_PACKET,
        ) as connection:
            connection.wait_connected(threading.Event())
            while len(self._online) < total:
                connection.check()
                late = time.monotonic() > deadline
                for member in self.members:
                    if late or member.process.poll() is not None:
                        what = "took too long" if late else "ended"
                        raise NanofleetError(f"worker {member.worker_id} {what}:\n{member.last_words()}")
                time.sleep(0.05)
                progress.update(task, completed=len(self._online))

    def _hear(self, delivery: Delivery) -> None:
        with contextlib.suppress(DecodeError):  # the topic is open to others on a shared broker
            status = WorkerStatus.decode(delivery.payload)
            if status.state == "online" and status.worker in {m.worker_id for m in self.members}:
                self._online[status.worker] = status


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put signals off until the block has ended."""
    came: List[int] = []
    heeded = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = [
        (signum, signal.signal(signum, lambda number, frame: came.append(number))) for signum in heeded
    ]
    try:
        yield
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)
    for number in came:
        signal.raise_signal(number)


def _worker_environment() -> Dict[str, str]:
    """Variables that set the demo are none of its workers', but for the password."""
    environment = child_environment()
    if PASSWORD_VARIABLE in os.environ:
        environment[PASSWORD_VARIABLE] = os.environ[PASSWORD_VARIABLE]
    return environment


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


def _show(console: Console, frames: Sequence[Sent], known: bool) -> bool:
    """Print the table; returns whether all is as it should be."""
    table = Table(title="What the workers saw", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("photo", "camera", "label"):
        table.add_column(heading)
    for heading in ("confidence", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("worker")
    all_right = True
    for sent in frames:
        answer = sent.answer
        name = Path(sent.source).name
        if isinstance(answer, Result):
            expected = PHOTOS.get(name) if known else None
            right = expected in (None, answer.label)
            label = plain(answer.label) if right else plain(f"{answer.label} (not {expected})", "bold red")
            table.add_row(
                name,
                sent.camera,
                label,
                f"{answer.confidence:.2f}",
                f"{sent.milliseconds:.0f}",
                answer.worker,
            )
        else:
            right = False
            why = f"rejected: {answer.reason.value}" if isinstance(answer, Rejection) else "no answer"
            table.add_row(name, sent.camera, plain(why, "bold red"), "", "", answer.worker if answer else "")
        all_right = all_right and right
    console.print(table)
    return all_right


def _show_next_steps(console: Console, settings: DemoSettings, workers: Workers) -> None:
    pages = "  ".join(f"http://127.0.0.1:{member.metrics_port}/metrics" for member in workers.members)
    while_it_runs = "" if settings.keep else "  (while it runs: --keep)"
    console.print(f"Metrics: {pages}{while_it_runs}", soft_wrap=True)
    if settings.keep:
        console.print(f"Send your own:  nanofleet publish --broker {settings.broker} YOUR.jpg")
    else:
        console.print("Send your own:  nanofleet demo --images FOLDER")
    console.print("A first fleet:  nanofleet worker --broker mqtt://YOUR-BROKER")


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
            for member in workers.members:
                if member.process.poll() is not None:
                    raise NanofleetError(f"worker {member.worker_id} ended:\n{member.last_words()}")
    except KeyboardInterrupt:
        console.print("stopping")
