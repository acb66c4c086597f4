"""What is announced of cameras and workers to others: to Home Assistant, say.

CameraState, WorkerStatus ──> Announcer ──> Publications ── not the same as before ──> Publishing
"""

from __future__ import annotations

import hashlib
from typing import Callable, Dict, Iterable, Sequence

from typing_extensions import Protocol

from wire.cameras import CameraState
from wire.messages import WorkerStatus
from wire.mqtt.packets import Delivery, Publication


class Announcer(Protocol):
    """Says what to publish of a camera or a worker, retained; each topic is one camera's or worker's.

    It is asked at each published state and at each status: what is the same as before is not published again.
    """

    @property
    def topics(self) -> Sequence[str]:
        """Topics that it wants to read, such as Home Assistant's birth message."""

    def asks_again(self, delivery: Delivery) -> bool:
        """Whether a message on one of those means that everything is to be announced again."""

    def camera(self, state: CameraState) -> Iterable[Publication]:
        """What announces a camera."""

    def camera_removed(self, camera: str) -> Iterable[Publication]:
        """What takes that back."""

    def worker(self, status: WorkerStatus) -> Iterable[Publication]:
        """What announces a worker."""

    def worker_removed(self, worker: str) -> Iterable[Publication]:
        """What takes that back."""


class Announcements:
    """What several announcers say, each message once."""

    def __init__(self, announcers: Sequence[Announcer], put: Callable[[Publication], None]) -> None:
        """Begin with nothing announced.

        Args:
            announcers: who announces.
            put: publishes.
        """
        self._announcers = announcers
        self._put = put
        #: By topic, what was published there last.
        self._published: Dict[str, bytes] = {}

    @property
    def topics(self) -> Sequence[str]:
        """What the announcers want to read."""
        return [topic for announcer in self._announcers for topic in announcer.topics]

    def asks_again(self, delivery: Delivery) -> bool:
        """Whether a message asks one of them for everything again."""
        return any(announcer.asks_again(delivery) for announcer in self._announcers)

    def forget(self) -> None:
        """Publish everything again that is announced from now on."""
        self._published.clear()

    def camera(self, state: CameraState) -> None:
        """Announce a camera, if that was not done by the same words."""
        for announcer in self._announcers:
            self._publish(announcer.camera(state))

    def camera_removed(self, camera: str) -> None:
        """Take it back."""
        for announcer in self._announcers:
            self._publish(announcer.camera_removed(camera))

    def worker(self, status: WorkerStatus) -> None:
        """Announce a worker, if that was not done by the same words."""
        for announcer in self._announcers:
            self._publish(announcer.worker(status))

    def worker_removed(self, worker: str) -> None:
        """Take it back."""
        for announcer in self._announcers:
            self._publish(announcer.worker_removed(worker))

    def _publish(self, publications: Iterable[Publication]) -> None:
        for publication in publications:
            digest = hashlib.blake2b(publication.payload, digest_size=16).digest()
            if self._published.get(publication.topic) == digest:
                continue
            if publication.payload:
                self._published[publication.topic] = digest
            else:
                self._published.pop(publication.topic, None)
            self._put(publication)
