"""The cameras' settings that the broker retains, noted on disk: a worker begins with those it had.

Not every broker sends what is retained again to a session that it has kept (rumqttd does not), and one that
does hands over the frames that have waited there first. Without the note a worker that comes back would
classify, and publish, what a camera's region leaves out.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Iterator, Tuple

from wire.cameras import CameraSettings
from wire.errors import DecodeError
from wire.files import write_whole
from wire.private import make_folder

log = logging.getLogger(__name__)


class CameraNotes:
    """One worker's notes: a file for each camera, which holds the message as it came."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made with the first note."""
        self._folder = folder

    def read(self) -> Iterator[Tuple[str, bytes]]:
        """Each camera with its message; a note that cannot be read is logged, and left out."""
        for file in sorted(self._folder.glob("*.json")):
            try:
                content = file.read_bytes()
                CameraSettings.decode(content)
            except (OSError, DecodeError) as error:
                say = "%s is ignored: %s. Set the camera's settings again, or remove the file"
                log.warning(say, file, error)
            else:
                yield file.stem, content

    def keep(self, camera: str, payload: bytes) -> None:
        """Note a camera's settings in the place of the former ones."""
        try:
            make_folder(self._folder)
            write_whole(self._file(camera), payload, lasting=False)
        except OSError as error:
            log.warning("settings of camera %s are not noted, for the next start: %s", camera, error)

    def forget(self, camera: str) -> None:
        """The broker retains none for it any more."""
        try:
            self._file(camera).unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("settings of camera %s stay noted, for the next start: %s", camera, error)

    def _file(self, camera: str) -> Path:
        return self._folder / f"{camera}.json"
