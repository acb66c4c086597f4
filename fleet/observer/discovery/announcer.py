"""Keeps what Home Assistant is told of one root as it should be.

camera(state), worker(status) ──> differs from what stands there? ──> publish
Home Assistant's birth, a request ──> publish all
removed, or gone since a former observer ──> an empty message
"""

from __future__ import annotations

import functools
import json
import logging
from typing import Any, Callable, Collection, Dict, List, Optional

from fleet.observer.discovery import camera as cameras
from fleet.observer.discovery import worker as workers
from fleet.observer.discovery.device import ORIGIN, Announcement, discovery_filter
from wire.cameras import CameraState
from wire.messages import WorkerStatus
from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import REFUSED
from wire.topics import Topics

log = logging.getLogger(__name__)

#: Announcements of others that are remembered, and bytes of one that is read, at most.
_MOST_STANDING, _MAX_BYTES = 10_000, 1 << 16


class Announcer:
    """Announces cameras and workers. Calls come from one thread."""

    def __init__(
        self,
        topics: Topics,
        prefix: Optional[str],
        publish: Callable[[Publication], object],
    ) -> None:
        """Announce nothing yet.

        Args:
            topics: those of the root.
            prefix: Home Assistant's discovery prefix; None to do nothing at all: what stands there stays.
            publish: publishes at QoS 1.
        """
        self._topics = topics
        self._enabled = prefix is not None
        self._prefix = prefix or ""
        self._publish = publish
        #: Where Home Assistant says `online` once it has started: then everything is announced again.
        self.birth = f"{prefix}/status"
        self._filter = discovery_filter(self._prefix, topics)
        #: What stands on the discovery topics of this root.
        self._standing: Dict[str, Dict[str, Any]] = {}
        #: What this announcer wants to stand there.
        self._wanted: Dict[str, Announcement] = {}
        self._refused = False

    @property
    def subscriptions(self) -> List[str]:
        """The topic filters whose messages `receive` wants, at QoS 1."""
        return [self.birth, self._filter] if self._enabled else []

    def receive(self, topic: str, payload: bytes) -> bool:
        """Take in what is announced already, of whatever topic; whether it was one of the announcer's."""
        if not self._enabled:
            return False
        before, after = self._filter.split("+")
        if not (topic.startswith(before) and topic.endswith(after)):
            return False
        # What comes later is the echo of what was announced here.
        if topic not in self._standing and topic not in self._wanted:
            found = _read(payload)
            if found is not None and len(self._standing) < _MOST_STANDING:
                self._standing[topic] = found
        return True

    def camera(self, state: CameraState) -> None:
        """Announce a camera, if that changes something."""
        self._announce(cameras.announce(state, self._topics, self._prefix))

    def worker(self, status: WorkerStatus) -> None:
        """Announce a worker, if that changes something."""
        self._announce(workers.announce(status, self._topics, self._prefix))

    def remove_camera(self, camera: str) -> None:
        """Remove a camera and its entities; to be called before its state is taken back."""
        self._remove(cameras.camera_topic(camera, self._topics, self._prefix))

    def remove_worker(self, worker: str) -> None:
        """Remove a worker and its entities."""
        self._remove(workers.worker_topic(worker, self._topics, self._prefix))

    def keep(self, known_cameras: Collection[str], known_workers: Collection[str]) -> None:
        """Remove all others, which a former observer has announced.

        To be called once what is retained has come: the announcements, the states and the statuses.
        """
        kept = {
            *(cameras.camera_topic(camera, self._topics, self._prefix) for camera in known_cameras),
            *(workers.worker_topic(worker, self._topics, self._prefix) for worker in known_workers),
        }
        for topic in {*self._standing, *self._wanted} - kept:
            self._remove(topic)

    def again(self) -> None:
        """Announce everything again, changed or not."""
        for announcement in self._wanted.values():
            self._put(announcement.topic, announcement.encode())

    def _announce(self, wanted: Announcement) -> None:
        self._wanted[wanted.topic] = wanted
        standing = self._standing.get(wanted.topic)
        if standing == wanted.payload:
            return
        dropped = _dropped(standing, wanted.payload) if standing else {}
        if dropped:  # an entity is removed by naming its platform alone, once
            components = {**wanted.payload["components"], **dropped}
            farewell = Announcement(wanted.topic, {**wanted.payload, "components": components})
            self._put(wanted.topic, farewell.encode())
        self._put(wanted.topic, wanted.encode())
        self._standing[wanted.topic] = wanted.payload

    def _remove(self, topic: str) -> None:
        known = self._standing.pop(topic, None), self._wanted.pop(topic, None)
        if any(known):
            self._put(topic, b"")

    def _put(self, topic: str, payload: bytes) -> None:
        if self._enabled:
            on_puback = functools.partial(self._hear, topic)
            self._publish(Publication(topic, payload, retain=True, on_puback=on_puback))

    def _hear(self, topic: str, reason_code: int) -> None:
        if reason_code >= REFUSED and not self._refused:  # it refuses all of them: one line says it
            self._refused = True
            log.warning(
                "the broker refuses %s (0x%02x): Home Assistant is told of no device. Its ACL must let this "
                "user write %s; --no-home-assistant announces nothing",
                topic,
                reason_code,
                self._filter,
            )


def _read(payload: bytes) -> Optional[Dict[str, Any]]:
    """An announcement of ours as it stands there; None if it is none: the topic may be anybody's."""
    if len(payload) > _MAX_BYTES:
        return None
    try:
        found = json.loads(payload)
        ours = found["origin"]["name"] == ORIGIN and isinstance(found["components"], dict)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if ours else None


def _dropped(standing: Dict[str, Any], wanted: Dict[str, Any]) -> Dict[str, Any]:
    """The entities that are there no more, each as its platform alone."""
    return {
        key: {"platform": component["platform"]}
        for key, component in standing["components"].items()
        if key not in wanted["components"]
        and isinstance(component, dict)
        and isinstance(component.get("platform"), str)
    }
