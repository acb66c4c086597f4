"""What a worker heeds of each camera's settings: the region, the groups, and how old a frame may be.

settings/cameras/<camera> ──> CameraBook ──> region, max_age, grouping
                                 │   ^
                    what changes v   │ at the start
                              CameraNotes
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Set

from labels.groups import PACKAGED, read_groups
from wire.camera_settings import CameraBook
from wire.cameras import CameraSettings
from wire.picture.region import WHOLE, Region
from worker.camera_notes import CameraNotes
from worker.serving.groups import Grouping


class Cameras:
    """The cameras' settings, as frames need them. All calls come from one thread."""

    def __init__(self, file: Mapping[str, CameraSettings], notes: CameraNotes) -> None:
        """Begin with what the broker retained when it was last heard, and with what a file says.

        Args:
            file: the settings in the worker's own file.
            notes: what an earlier process has noted of the broker's.
        """
        self._book = CameraBook(file)
        self._notes = notes
        for camera, payload in notes.read():
            self._book.receive(camera, payload)
        #: Cameras of which it is open whether the broker still retains their settings.
        self._in_doubt: Set[str] = set()
        self._packaged = {name: Grouping(read_groups(path)) for name, path in PACKAGED.items()}
        #: Of cameras with groups of their own.
        self._own: Dict[str, Grouping] = {}

    def receive(self, camera: str, payload: bytes) -> None:
        """Take what stands on a camera's settings topic."""
        self._in_doubt.discard(camera)
        before = self._book.retained.get(camera)
        if self._book.receive(camera, payload):
            self._own.pop(camera, None)
        now = self._book.retained.get(camera)
        if now is None:
            self._notes.forget(camera)
        elif now != before:
            self._notes.keep(camera, payload)

    def session_began(self) -> None:
        """A new session receives all that is retained; one that was kept, what has changed meanwhile."""
        self._in_doubt = set(self._book.retained)

    def all_received(self) -> None:
        """A new session has received what is retained: what did not come again was taken back meanwhile."""
        for camera in list(self._in_doubt):
            self.receive(camera, b"")

    def region(self, camera: str) -> Region:
        """The part of its pictures that is classified."""
        return self._book.of(camera).region or WHOLE

    def max_age(self, camera: str) -> Optional[float]:
        """Seconds after which its frames are stale, where its settings say so; 0 for never."""
        return self._book.of(camera).max_age

    def grouping(self, camera: str) -> Optional[Grouping]:
        """Its groups; None for none."""
        groups = self._book.of(camera).groups
        if isinstance(groups, str):
            return self._packaged.get(groups)
        if camera not in self._own:
            self._own[camera] = Grouping(groups, camera)
        return self._own[camera]
