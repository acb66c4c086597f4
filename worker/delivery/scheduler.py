"""Which frames are at work, and which camera's turn is next.

submit ──> waits, camera by camera ── room at work ──> work(frame) ── answered ──> done
           (on disk, if they are too many)             (one that may be poison alone)
"""

from __future__ import annotations

import collections
import contextlib
import logging
import shutil
from pathlib import Path
from typing import Callable, Deque, Dict, Set

from worker.delivery.crash_journal import MAX_DEATHS, CrashJournal
from worker.delivery.frame import Frame
from worker.errors import Poison

log = logging.getLogger(__name__)

#: Bytes of payloads that may wait in memory beyond the window: small frames need no disk.
SPARE = 16_000_000


class Scheduler:
    """Puts frames to work: as many as keep the engine busy, the cameras in turn, but a suspect alone.

    The turns keep a camera that floods from delaying the others: a frame waits for those at work and for one
    of each other camera, however many of another's came before it.

    The window is kept here as well as by the broker, because some send more than the Receive Maximum:
    Mosquitto 2.0 whatever it has queued (mosquitto#2301), rumqttd 100. What waits beyond it, and beyond SPARE
    bytes, is spilled to disk, so that memory stays bounded.
    """

    def __init__(
        self,
        journal: CrashJournal,
        *,
        at_work: int,
        window: int,
        folder: Path,
        work: Callable[[Frame], None],
    ) -> None:
        """Begin without a frame.

        Args:
            journal: knows the suspects.
            at_work: frames at work, at most.
            window: frames that are kept in memory whatever their size, those at work included.
            folder: where the frames beyond it are kept; emptied at the start and removed at the end.
            work: puts a frame to work; `done` must follow.
        """
        self._journal = journal
        self._most_at_work = at_work
        self._window = window
        self._folder = folder
        self._work = work
        self._spilled = 0
        #: By camera, in the order of their turns; a camera without a frame that waits is not in it.
        self._waiting: Dict[str, Deque[Frame]] = {}
        self._waiting_count = 0
        self._waiting_bytes = 0
        self._at_work: Set[Frame] = set()
        self._alone = False
        self._advancing = False

    def __enter__(self) -> Scheduler:
        """Open the files.

        Raises:
            NanofleetError: the state directory cannot be written.
        """
        self._journal.__enter__()
        shutil.rmtree(self._folder, ignore_errors=True)  # what a process that was killed has left
        self._folder.mkdir(mode=0o700)
        return self

    def __exit__(self, *exception: object) -> None:
        self._journal.__exit__(*exception)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def full(self) -> bool:
        """Whether at least as many frames wait as the window allows."""
        return self._waiting_count >= self._window

    @property
    def _held(self) -> int:
        return len(self._at_work) + self._waiting_count

    def submit(self, frame: Frame) -> None:
        """Put a frame to work as soon as it is its camera's turn and no suspect is in the way.

        Raises:
            Poison: the worker has died of it too often.
        """
        deaths = self._journal.deaths(frame)
        if deaths >= MAX_DEATHS:
            raise Poison(f"the worker died {deaths} times with this frame at work")
        self._waiting.setdefault(frame.camera, collections.deque()).append(frame)
        self._waiting_count += 1
        self._waiting_bytes += len(frame.delivery.payload)
        self._advance()
        camera = self._waiting.get(frame.camera)
        waits = camera is not None and camera[-1] is frame
        if waits and self._waiting_bytes > SPARE and self._held > self._window:
            self._spill(frame)

    def done(self, frame: Frame) -> None:
        """Note that a frame has its answer; also one that was never put to work."""
        self._journal.end(frame)
        if frame in self._at_work:
            self._at_work.remove(frame)
            self._alone = False
            self._advance()

    def _advance(self) -> None:
        if self._advancing:  # a frame that is rejected at once is done before the loop below has gone on
            return
        self._advancing = True
        try:
            self._put_to_work()
        finally:
            self._advancing = False

    def _put_to_work(self) -> None:
        while self._waiting and not self._alone and len(self._at_work) < self._most_at_work:
            camera, frames = next(iter(self._waiting.items()))
            suspect = self._journal.deaths(frames[0]) > 0
            if suspect and self._at_work:
                return
            frame = frames.popleft()
            self._waiting_count -= 1
            self._waiting_bytes -= len(frame.delivery.payload)  # none, where that is on disk
            del self._waiting[camera]
            if frames:
                self._waiting[camera] = frames  # its next turn comes after all the others'
            frame.unspill()
            self._journal.begin(frame)
            self._at_work.add(frame)
            self._alone = suspect
            self._work(frame)

    def _spill(self, frame: Frame) -> None:
        self._spilled += 1
        file = self._folder / str(self._spilled)
        size = len(frame.delivery.payload)
        try:
            frame.spill(file)
            self._waiting_bytes -= size
        except OSError as error:
            with contextlib.suppress(OSError):
                file.unlink()
            log.error("%s: %s; frames that wait stay in memory", self._folder, error)
