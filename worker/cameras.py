"""What is done with each camera's frames, by its settings and the worker's.

settings/cameras/<camera> ──> CameraBook ──> Treatment, asked for once a frame
                                 │   ^
                    what changes v   │ at the start
                              CameraNotes
"""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Set

from labels.groups import PACKAGED, read_groups
from wire.camera_settings import CameraBook
from wire.cameras import CameraSettings
from wire.picture.region import WHOLE, Region
from worker.camera_notes import CameraNotes
from worker.serving.groups import Grouping
from worker.settings import WorkerSettings


class Treatment(NamedTuple):
    """What is done with a frame of one camera."""

    #: The part of the picture that is classified.
    region: Region
    #: The groups of labels that are wanted as well; None for none.
    grouping: Optional[Grouping]
    #: Seconds after which it is stale; None for never.
    max_age: Optional[float]
    #: Whether it is answered as the camera's last one, where it hardly differs.
    skip_still: bool


class Cameras:
    """The cameras' settings, as frames need them. All calls come from one thread."""

    def __init__(
        self, settings: WorkerSettings, file: Mapping[str, CameraSettings], notes: CameraNotes
    ) -> None:
        """Begin with what the broker retained when it was last heard, and with what a file says.

        Args:
            settings: the worker's, which hold where a camera's say nothing.
            file: the settings in the worker's own file.
            notes: what an earlier process has noted of the broker's.
        """
        self._settings = settings
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

    def of(self, camera: str) -> Treatment:
        """What is done with a camera's frames from now on."""
        own = self._book.of(camera)
        max_age = self._settings.max_age_of(camera) if own.max_age is None else own.max_age
        return Treatment(
            region=own.region or WHOLE,
            grouping=self._grouping(camera, own),
            max_age=max_age or None,  # 0: never
            skip_still=self._settings.skip_still if own.skip_still is None else own.skip_still,
        )

    def _grouping(self, camera: str, own: CameraSettings) -> Optional[Grouping]:
        if isinstance(own.groups, str):
            return self._packaged.get(own.groups)
        if camera not in self._own:
            self._own[camera] = Grouping(own.groups, camera)
        return self._own[camera]
