"""Crash journal: the frames at work when the worker last died, and which of them may be why.

A file, mapped into memory, holds the frames at work. Those in it when a process starts were at work when the
last one died: suspects. A suspect that is delivered again runs alone, so that if the worker dies once more
the file shows with which frame. That frame is not tried a third time.

A worker that ends for a reason that is no frame's, as a shutdown request, has not died.

The file is not flushed to the disk: a process that dies leaves its mapped pages to the kernel, and a power
cut is no frame's fault.
"""

from __future__ import annotations

import collections
import mmap
import os
import struct
import sys
from pathlib import Path
from typing import Counter, Dict, List

from wire import private
from wire.errors import NanofleetError, failure_of
from worker.delivery.frame import Frame

#: A frame's key, and how many times it was put to work without being done.
_RECORD = struct.Struct("<16sB")
#: A frame is given up after so many deaths.
MAX_DEATHS = 2


class CrashJournal:
    """The file. A context manager; all calls come from one thread."""

    def __init__(self, path: Path, capacity: int) -> None:
        """Prepare to open the file.

        Args:
            path: the file, this worker's alone.
            capacity: frames that may be at work at once, at least; suspects that never return count as well.
        """
        self._path = path
        self._capacity = capacity
        self._slots: Dict[bytes, int] = {}
        self._deaths: Dict[bytes, int] = {}
        self._at_work: Counter[bytes] = collections.Counter()
        self._free: List[int] = []

    def __enter__(self) -> CrashJournal:
        """Read what the last process has left.

        Raises:
            NanofleetError: the file cannot be written.
        """
        size = self._capacity * _RECORD.size
        try:
            with private.open_file(self._path, "a+b") as file:
                file.truncate(size)
                if sys.platform == "linux":  # a write to a hole kills the process where the disk is full
                    os.posix_fallocate(file.fileno(), 0, size)
                self._memory = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise failure_of(f"--state-dir: {self._path}", error) from None
        for slot in range(self._capacity):
            key, deaths = _RECORD.unpack_from(self._memory, slot * _RECORD.size)
            if deaths:
                self._slots[key] = slot
                self._deaths[key] = deaths
            else:
                self._free.append(slot)
        return self

    def __exit__(self, *exception: object) -> None:
        if not _is_death(exception[1]):
            for key, slot in self._slots.items():
                self._write(slot, key, self._deaths.get(key, 0))
        self._memory.close()

    def deaths(self, frame: Frame) -> int:
        """How often the worker died with this frame at work."""
        return self._deaths.get(frame.key, 0)

    def begin(self, frame: Frame) -> None:
        """Note that a frame is put to work."""
        key = frame.key
        self._at_work[key] += 1
        if self._at_work[key] > 1:  # a second copy under the same id
            return
        if key not in self._slots:
            if not self._free:  # full of suspects that never came back
                self._forget(next(k for k in self._slots if not self._at_work[k]))
            self._slots[key] = self._free.pop()
        self._write(self._slots[key], key, self.deaths(frame) + 1)

    def end(self, frame: Frame) -> None:
        """Note that a frame has its answer."""
        key = frame.key
        self._at_work[key] -= 1
        if self._at_work[key] <= 0 and key in self._slots:
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        slot = self._slots.pop(key)
        self._deaths.pop(key, None)
        self._at_work.pop(key, None)
        self._write(slot, bytes(16), 0)
        self._free.append(slot)

    def _write(self, slot: int, key: bytes, deaths: int) -> None:
        _RECORD.pack_into(self._memory, slot * _RECORD.size, key, min(deaths, 255))


def _is_death(reason: object) -> bool:
    """Whether what ends the worker may be a frame's doing: a defect, or a part that stalled."""
    if isinstance(reason, NanofleetError):
        return reason.ends_process
    return isinstance(reason, Exception)
