"""A directory that keeps each frame until its answer has come.

    DIR/1/lock                                   held while a publisher uses DIR/1
    DIR/1/client-id                              its MQTT client id: answers wait for it with the broker
    DIR/1/<sequence>-<frame id>.frame            one frame: a line of JSON, then the image's bytes
    DIR/refused/…                                frames refused for good: see publisher/refused

One file a frame, written aside, flushed to the disk and renamed: a frame that `put` has taken survives a
kill and a power cut. Files and not a database, because a full disk must still let frames be removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import re
import threading
import uuid
from pathlib import Path
from typing import IO, Dict, Optional, Tuple

from publisher.frame_files import Kept, lock_spool, read_header
from publisher.refused import RefusedFrames, waiting_name
from wire import private
from wire.errors import NanofleetError, SettingsError, failure_of
from wire.files import sync, write_whole
from wire.log_lines import NAMED_ONCE

log = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MOST_PUBLISHERS = 256
_CLIENT_ID = re.compile(r"nanofleet-publisher-[0-9a-f]{12}")


class SpoolFull(NanofleetError):
    """A frame was not taken: the spool has reached its size, or the disk is full."""


class LargerThanSpool(SpoolFull):
    """A frame would have no room in an empty spool either."""


class Spool:
    """The frames of one publisher at a time. A context manager; thread-safe.

    Attributes:
        client_id: stable, so that the broker keeps answers for whoever opens this spool next.
        kept: the frames in it, oldest first.
        damaged: how many more there are that cannot be read; each was named.
        drops_oldest: what its publisher does where it is full.
    """

    def __init__(self, folder: Path, max_bytes: int, *, drops_oldest: bool = False) -> None:
        """Name the folder.

        Args:
            folder: holds the spools of all publishers of this machine that send to the same fleet.
            max_bytes: bytes of all frames, at most; those that were refused count.
            drops_oldest: whether its publisher has it drop the oldest frames where it is full, or waits.
        """
        self.drops_oldest = drops_oldest
        self._base = folder
        self._max_bytes = max_bytes
        self._refused = RefusedFrames(folder)
        self._refused_bytes = 0
        self._changing = threading.Lock()
        self._bytes = 0
        self._sequence = 0
        self.kept: Dict[str, Kept] = {}
        self.damaged = 0

    def __enter__(self) -> Spool:
        """Open the first spool that is free, and gather in it the frames of publishers that no longer run.

        Raises:
            SettingsError: the folder cannot be written.
        """
        try:
            private.make_folder(self._base)
            self._folder, self._lock = self._claim()
            with contextlib.ExitStack() as undo:
                undo.enter_context(self._lock)
                self._gather()
                self.client_id = _client_id(self._folder / "client-id")
                self._refused.open()
                self._refused_bytes = self._refused.size
                self._read()
                undo.pop_all()
        except OSError as error:
            raise SettingsError(
                f"--spool-dir {self._base}: {error.strerror or error}; name another, or --no-spool"
            ) from None
        return self

    def _read(self) -> None:
        for file in sorted(self._folder.iterdir()):
            if file.suffix == ".frame":
                self._read_frame(file)
            elif file.suffix == ".part":
                file.unlink()  # `put` did not return to whoever wrote it

    def _read_frame(self, file: Path) -> None:
        try:
            kept = read_header(file)
        except (SettingsError, OSError) as error:  # of a bad disk: the others go on
            why = error if isinstance(error, SettingsError) else failure_of(str(file), error)
            log.error("lost from the spool: %s", why, extra=NAMED_ONCE)
            self.damaged += 1
        else:
            self._add(kept)
            self._sequence = int(file.name.split("-", 1)[0])

    def __exit__(self, *exception: object) -> None:
        self._lock.close()

    def put(self, frame_id: str, camera: str, source: str, captured_at: str, image: bytes) -> Kept:
        """Take a frame; it is on the disk when this returns.

        Raises:
            SpoolFull: it was not taken.
            LargerThanSpool: it would not be taken if the spool were empty either.
        """
        header = {"frame_id": frame_id, "camera": camera, "source": source, "captured_at": captured_at}
        content = json.dumps(header).encode() + b"\n" + image
        with self._changing:
            return self._put(Kept(**header, file=self._next(frame_id), size=len(content)), content)

    def _next(self, frame_id: str) -> Path:
        self._sequence += 1
        return self._folder / f"{self._sequence:020d}-{frame_id}.frame"

    def _put(self, kept: Kept, content: bytes) -> Kept:
        if len(content) > self._max_bytes:
            raise LargerThanSpool(
                f"{len(content):,} bytes, and the spool holds {self._max_bytes:,} (--spool-size)"
            )
        self._check_room(len(content))
        try:
            write_whole(kept.file, content)
        except OSError as error:
            if error.errno in _FULL:
                raise SpoolFull(f"{self._folder}: {error.strerror}") from None
            raise SettingsError(f"--spool-dir {self._folder}: {error.strerror or error}") from None
        self._add(kept)
        return kept

    def _check_room(self, size: int) -> None:
        if self._bytes + self._refused_bytes + size <= self._max_bytes:
            return
        self._refused_bytes = self._refused.size  # somebody may have dropped some
        held = self._bytes + self._refused_bytes
        if held + size > self._max_bytes:
            text = f"the spool holds {held:,} bytes of at most {self._max_bytes:,} (--spool-size)"
            if self._refused_bytes:
                text += f", {self._refused_bytes:,} of them refused by the broker (see nanofleet spool)"
            raise SpoolFull(text)

    def image(self, kept: Kept) -> bytes:
        """The image's bytes."""
        return kept.file.read_bytes().partition(b"\n")[2]

    def remove(self, frame_id: str) -> None:
        """Remove a frame that has its answer."""
        with self._changing:
            kept = self.kept.pop(frame_id, None)
            if kept is not None:
                self._bytes -= kept.size
                try:
                    kept.file.unlink()
                except FileNotFoundError:
                    pass
                except OSError as error:  # a file system that has become read-only, say
                    log.error(
                        "%s: %s: it is done with, but stays, and the next run sends it again",
                        kept.file,
                        error.strerror,
                    )

    def set_aside(self, frame_id: str, reason_code: int) -> None:
        """Move a frame that the broker refuses for good away from those that wait to be sent."""
        with self._changing:
            kept = self.kept.pop(frame_id, None)
            if kept is None:
                return
            self._bytes -= kept.size
            try:
                self._refused.take(kept, reason_code)
                self._refused_bytes += kept.size
            except OSError as error:
                log.error("%s: %s: it is refused, but stays", kept.file, error.strerror)

    def take_back(self, refused: Kept) -> None:
        """Move a frame that was set aside back to those that wait to be sent.

        Raises:
            OSError: it is gone, or stays where it is.
        """
        file = self._folder / waiting_name(refused.file)
        refused.file.replace(file)
        self._add(dataclasses.replace(refused, file=file))

    def drop_oldest(self) -> Optional[Kept]:
        """Remove the oldest frame, to make room, refused ones first; None if there is none."""
        for refused in self._refused:
            log.warning("%s: dropped to make room: it had been refused", refused.kept.source)
            refused.kept.file.unlink(missing_ok=True)
            return refused.kept
        oldest = next(iter(self.kept.values()), None)
        if oldest is not None:
            self.remove(oldest.frame_id)
        return oldest

    def _add(self, kept: Kept) -> None:
        self.kept[kept.frame_id] = kept
        self._bytes += kept.size

    def _claim(self) -> Tuple[Path, IO[str]]:
        for number in range(1, _MOST_PUBLISHERS):
            folder = self._base / str(number)
            held = lock_spool(folder)
            if held is not None:
                return folder, held
        raise OSError(errno.EBUSY, f"{_MOST_PUBLISHERS} publishers use it")

    def _gather(self) -> None:
        """Move the frames of publishers that no longer run into this spool."""
        for folder in sorted(self._base.iterdir()):
            held = lock_spool(folder) if folder != self._folder and folder.name.isdigit() else None
            if held is None:
                continue
            with held:
                for file in folder.glob("*.frame"):
                    file.replace(self._folder / file.name)
                sync(self._folder)


def _client_id(file: Path) -> str:
    """The id that a file holds; a new one if there is none, or what a power cut has left of it."""
    known = file.read_text(encoding="ascii", errors="replace") if file.exists() else ""
    if not _CLIENT_ID.fullmatch(known):
        known = f"nanofleet-publisher-{uuid.uuid4().hex[:12]}"
        write_whole(file, known.encode())
    return known
