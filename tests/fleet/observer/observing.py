"""Observers as a user starts them, and what they publish."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import List, Optional

from tests.fleet.members import result
from tests.harness import Listener, wait_for
from wire.cameras import CameraState
from wire.observers import ObserverStatus

#: Their lease is 1.5 s.
QUICK = ("--status-interval", "0.5")


class ObserverProcess:
    """`nanofleet observe` as a process of its own, with its log in a file."""

    def __init__(self, folder: Path, url: str, root: str, observer_id: str, *flags: str) -> None:
        self.id = observer_id
        self.log = folder / f"{observer_id}.log"
        command = [sys.executable, "-m", "fleet", "observe", "--broker", url, "--root", root]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--observer-id", observer_id, *QUICK, *flags], stdout=log, stderr=log, cwd=folder
            )

    def said(self, text: str) -> bool:
        """Whether its log holds this text."""
        return text in self.log.read_text()

    @property
    def is_active(self) -> bool:
        """Whether it says that it follows the cameras, and not yet that another one does."""
        text = self.log.read_text()
        return text.rfind("observing the cameras of") > text.rfind("no longer observing")

    def wait_active(self) -> None:
        wait_for(lambda: self.is_active or self.process.poll() is not None, what=f"{self.id} active")
        assert self.process.poll() is None, self.log.read_text()

    def send_signal(self, signum: int) -> None:
        os.kill(self.process.pid, signum)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(30)


def states(listener: Listener, root: str, camera: str = "door") -> List[CameraState]:
    """The states of a camera, as they came."""
    messages = [m for m in listener.on(f"{root}/cameras/{camera}") if m.payload]
    return [CameraState.decode(m.payload) for m in messages]


def last_state(listener: Listener, root: str, camera: str = "door") -> Optional[CameraState]:
    """The latest of them."""
    return next(reversed(states(listener, root, camera)), None)


def active(listener: Listener, root: str) -> List[str]:
    """The observers whose latest statuses call them active."""
    latest = {m.topic: m.payload for m in listener.on(f"{root}/observers/")}
    found = [ObserverStatus.decode(payload) for payload in latest.values() if payload]
    return [status.observer for status in found if status.active]


def send(
    listener: Listener, root: str, first: int, count: int, label: str = "cat", camera: str = "door"
) -> None:
    """Publish answers as a worker does, with ids from `first` on."""
    for n in range(first, first + count):
        answer = result(camera, label, frame_id=f"{camera}-{n}")
        listener.publish(f"{root}/results/{camera}", answer.encode())
