"""What a worker heeds of each camera's settings: the region, the groups, and how old a frame may be."""

from __future__ import annotations

from typing import Dict, Mapping, Optional

from labels.groups import PACKAGED, read_groups
from wire.camera_settings import CameraBook
from wire.cameras import CameraSettings
from wire.picture.region import WHOLE, Region
from worker.serving.groups import Grouping


class Cameras:
    """The cameras' settings, as frames need them. All calls come from one thread."""

    def __init__(self, file: Mapping[str, CameraSettings]) -> None:
        """Begin with what a file says of cameras; the broker's retained settings come later."""
        self._book = CameraBook(file)
        self._packaged = {name: Grouping(read_groups(path)) for name, path in PACKAGED.items()}
        #: Of cameras with groups of their own.
        self._own: Dict[str, Grouping] = {}

    def receive(self, camera: str, payload: bytes) -> None:
        """Take what stands on a camera's settings topic."""
        if self._book.receive(camera, payload):
            self._own.pop(camera, None)

    def region(self, camera: str) -> Region:
        """The part of its pictures that is classified."""
        return self._book.of(camera).region or WHOLE

    def max_age(self, camera: str) -> Optional[float]:
        """Seconds after which its frames are stale, where its settings say so."""
        return self._book.of(camera).max_age

    def grouping(self, camera: str) -> Optional[Grouping]:
        """Its groups; None for none."""
        groups = self._book.of(camera).groups
        if isinstance(groups, str):
            return self._packaged.get(groups)
        if camera not in self._own:
            self._own[camera] = Grouping(groups, camera)
        return self._own[camera]
