"""What tests of model commands share: the operator's command, a steady camera, and what workers report."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from pathlib import Path
from typing import Iterator, List

from tests.fleets import Fleet
from tests.harness import Listener, WorkerProcess, nanofleet, statuses, wait_for
from tests.tiny import write_tiny
from wire.messages import Result, WorkerStatus
from wire.model_choice import ModelChoice

FAST_STATUS = ("--status-interval", "0.2")
#: Two files in a worker's weights folder: one answers as the worker's own tiny model does, one otherwise.
SAME, OTHER = "same.onnx", "other.onnx"
OTHER_CHOICE = ModelChoice(model=OTHER, labels=Path("other.txt"), scaling="unit", fit="squeeze")
USE_SAME = (SAME, "--labels", "same.txt", "--scaling", "unit", "--fit", "squeeze")
USE_OTHER = (OTHER, "--labels", "other.txt", "--scaling", "unit", "--fit", "squeeze")


def start(fleet: Fleet, *flags: str, id: str = "w1", wait: bool = True) -> WorkerProcess:
    """Start a worker that reports often, with both files in its weights folder."""
    folder = fleet.folder / "weights"
    if not folder.exists():
        folder.mkdir()
        write_tiny(folder, SAME)
        write_tiny(folder, OTHER, swapped=True)
    return fleet.worker(*FAST_STATUS, "--weights-dir", str(folder), *flags, id=id, wait=wait)


def models(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `nanofleet models …` on a fleet."""
    return nanofleet("models", *arguments, "--broker", fleet.url, "--root", fleet.root)


@contextlib.contextmanager
def camera(fleet: Fleet, image: bytes, interval: float) -> Iterator[List[str]]:
    """Publish frames at a steady rate while the block lasts; yields the ids of those sent."""
    sent: List[str] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(interval):
            sent.append(f"frame-{len(sent)}")
            fleet.send("door", image, sent[-1])

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def latest(listener: Listener, worker: WorkerProcess) -> WorkerStatus:
    """Return a worker's last status that the listener has received; the first is waited for."""

    def received() -> List[WorkerStatus]:
        return [status for status in statuses(listener.messages) if status.worker == worker.id]

    status: WorkerStatus = wait_for(received, what=f"a status of {worker.id}'s")[-1]
    return status


def wait_change(listener: Listener, worker: WorkerProcess, topic: str) -> None:
    """Wait until the listener has received as well that a worker serves what a topic commands."""

    def serving() -> bool:
        change = latest(listener, worker).change
        return change is not None and (change.state, change.topic) == ("serving", topic)

    wait_for(serving, what=f"{worker.id} serves what {topic} commands")


def answers(listener: Listener) -> List[Result]:
    """Decode the Results that a listener has received."""
    return [Result.decode(m.payload) for m in list(listener.messages) if "/results/" in m.topic]


def photo(photos: Path) -> bytes:
    """Return a photo of which models are sure."""
    return (photos / "coffee.png").read_bytes()
