"""Which frames are at work: no more than the window, and one that may be poison alone.

submit ──> waiting, on disk ── room in the window ──> work(frame) ── its answer is out ──> done
"""

from __future__ import annotations

import collections
import contextlib
import logging
import shutil
from pathlib import Path
from typing import Callable, Deque, Set

from worker.attempts import MAX_DEATHS, Attempts
from worker.errors import Poison
from worker.frame import Frame

log = logging.getLogger(__name__)


class Admission:
    """Puts frames to work: as many as the window holds, but a suspect alone.

    The window is held here as well as by the broker, because some send more than the Receive Maximum:
    Mosquitto's 2.0 line whatever it has queued (mosquitto#2301), rumqttd 100. What waits is put aside on
    disk, so that memory stays bounded by the window.
    """

    def __init__(self, attempts: Attempts, window: int, folder: Path, work: Callable[[Frame], None]) -> None:
        """Args:
        attempts: tells the suspects.
        window: frames at work, at most.
        folder: where the frames that wait are kept; emptied at the start and removed at the end.
        work: puts a frame to work; `done` must follow.
        """
        self._attempts = attempts
        self._window = window
        self._folder = folder
        self._work = work
        self._put_aside = 0
        self._waiting: Deque[Frame] = collections.deque()
        self._at_work: Set[Frame] = set()
        self._alone = False

    def __enter__(self) -> Admission:
        """Open the files.

        Raises:
            SettingsError: the state directory cannot be written.
        """
        self._attempts.__enter__()
        shutil.rmtree(self._folder, ignore_errors=True)  # what a life that was killed has left
        self._folder.mkdir()
        return self

    def __exit__(self, *exception: object) -> None:
        self._attempts.__exit__(None, None, None)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def full(self) -> bool:
        """Whether as many frames wait as are at work."""
        return len(self._waiting) >= self._window

    def submit(self, frame: Frame) -> None:
        """Put a frame to work as soon as the window has room and no suspect is in the way.

        Raises:
            Poison: the worker has died of it too often.
        """
        deaths = self._attempts.deaths(frame)
        if deaths >= MAX_DEATHS:
            raise Poison(f"the worker died {deaths} times with this frame at work")
        self._waiting.append(frame)
        self._advance()
        if self._waiting:  # so this one waits, as the last
            self._put_aside += 1
            file = self._folder / str(self._put_aside)
            try:
                frame.put_aside(file)
            except OSError as error:
                with contextlib.suppress(OSError):
                    file.unlink()
                log.error("%s: %s; frames that wait stay in memory", self._folder, error)

    def done(self, frame: Frame) -> None:
        """A frame has its answer; also one that was never put to work."""
        self._attempts.end(frame)
        if frame in self._at_work:
            self._at_work.remove(frame)
            self._alone = False
            self._advance()

    def _advance(self) -> None:
        while self._waiting and not self._alone and len(self._at_work) < self._window:
            frame = self._waiting[0]
            suspect = self._attempts.deaths(frame) > 0
            if suspect and self._at_work:
                return
            self._waiting.popleft().take_up()
            self._attempts.begin(frame)
            self._at_work.add(frame)
            self._alone = suspect
            self._work(frame)
