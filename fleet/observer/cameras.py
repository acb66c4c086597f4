"""The states of all cameras: what the active observer keeps, and which of them are to be published.

retained CameraStates ──> restore ──┐
Result, Rejection ──────> receive ──┼──> Camera ──> due, all_due ──> CameraState
settings, model changes ────────────┘            └─> CameraEvent
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Callable, Dict, List, Optional, Tuple, Union

from fleet.observer.camera import Camera, restored, seen_first
from fleet.observer.vocabulary import Vocabulary, vocabulary
from fleet.observer.worker_clocks import WorkerClocks, boot_clock
from wire.camera_settings import MAX_CAMERAS, CameraBook
from wire.cameras import CameraEvent, CameraSettings, CameraState
from wire.messages import Rejection, Result, utc_now
from wire.topics import is_id

log = logging.getLogger(__name__)


def shortened(settings: CameraSettings) -> CameraSettings:
    """What an observer needs of a camera's settings: which labels a group has is the workers' matter."""
    if isinstance(settings.groups, str):
        return settings
    return settings.model_copy(update={"groups": dict.fromkeys(settings.groups, ())})


class Cameras:
    """All cameras. No call does anything but compute; all come from one thread."""

    def __init__(
        self,
        book: CameraBook,
        silent_after: float,
        *,
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Begin without any.

        Args:
            book: the settings of each.
            silent_after: seconds without an answer after which a camera is silent, where its settings do not
                say otherwise; 0: never.
            clock: seconds, whatever the time of day is set to.
            now: the time of day.
        """
        self.worker_clocks = WorkerClocks(clock)
        self._book = book
        self._silent_after = silent_after
        self._clock = clock
        self._now = now
        self._cameras: Dict[str, Camera] = {}
        self._is_full = False

    def __contains__(self, camera: str) -> bool:
        return camera in self._cameras

    def states(self) -> List[CameraState]:
        """All as they are now."""
        return [camera.state for camera in self._cameras.values()]

    def restore(self, state: CameraState) -> None:
        """Go on from a retained state: another observer's, or one from before a restart."""
        camera = state.camera
        known = self._cameras.get(camera)
        if known is not None and known.seems_new:
            known.resume(state)
        elif known is None and is_id(camera) and self._has_room(camera):
            settings = self._book.of(camera)
            self._cameras[camera] = restored(state, settings, self._clock(), self._now())

    def receive(self, answer: Union[Result, Rejection]) -> Optional[CameraEvent]:
        """Take an answer; returns an event where what is stable has changed to something known."""
        name, seconds = answer.camera, self._clock()
        camera = self._cameras.get(name)
        if camera is None:
            if not is_id(name) or not self._has_room(name):
                return None
            camera = self._cameras[name] = seen_first(name, self._book.of(name), seconds)
        lateness = 0.0  # of a rejection: it has no time but that of its frame, which may have waited for long
        if isinstance(answer, Result):
            lateness = self.worker_clocks.lateness(answer.worker, answer.answered_at)
        return camera.add(answer, seconds, lateness, self._now())

    def receive_settings(self, camera: str, payload: bytes) -> None:
        """Take what stands on a camera's settings topic."""
        if self._book.receive(camera, payload) and camera in self._cameras:
            self._cameras[camera].follow(self._book.of(camera))

    def forget(self, camera: str) -> None:
        """Somebody has removed a camera: it is new when it sends a frame again."""
        self._cameras.pop(camera, None)

    def silent_after(self, camera: str) -> float:
        """Seconds without an answer after which a camera is silent; 0: never."""
        own = self._book.of(camera).silent_after
        return self._silent_after if own is None else own

    def vocabulary(self, camera: str, labels: Optional[Tuple[str, ...]]) -> Vocabulary:
        """What may be seen by a camera, with models of these labels; None: any."""
        return vocabulary(self._book.of(camera), labels)

    def publish_again(self, camera: str) -> None:
        """Have a state published, whatever was published before."""
        self._cameras[camera].publish_again()

    def publish_all_again(self) -> None:
        """Have each state published, whatever was published before."""
        for camera in self._cameras.values():
            camera.publish_again()

    def due(self, name: str) -> Optional[CameraState]:
        """A camera's state, where it is to be published now."""
        camera = self._cameras.get(name)
        return camera.state if camera is not None and camera.is_due(self._clock()) else None

    def all_due(self) -> List[CameraState]:
        """The states that are to be published now; time alone makes some due."""
        seconds = self._clock()
        for name, camera in self._cameras.items():
            camera.look_for_silence(self.silent_after(name), seconds, self._now())
        return [camera.state for camera in self._cameras.values() if camera.is_due(seconds)]

    def all_changed(self) -> List[CameraState]:
        """The states that are not as they were published, due or not: for an observer that leaves."""
        return [camera.state for camera in self._cameras.values() if not camera.is_current]

    def _has_room(self, camera: str) -> bool:
        """Whether a new camera can be observed: instead of the one that is silent for longest, if need be."""
        if len(self._cameras) < MAX_CAMERAS:
            return True
        silent = [(known.heard, name) for name, known in self._cameras.items() if known.is_silent]
        if silent:
            del self._cameras[min(silent)[1]]
            return True
        if not self._is_full:
            log.warning("camera %s and all that come after it are not observed: %d are", camera, MAX_CAMERAS)
            self._is_full = True
        return False
