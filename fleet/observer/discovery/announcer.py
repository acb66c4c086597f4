"""Keeps what Home Assistant is told of one root as it should be.

camera(state), worker(status) ──> differs from what stands there? ──> publish
Home Assistant's birth, a request ──> publish all
removed, or gone since a former observer ──> an empty message
"""

from __future__ import annotations

import functools
import logging
from typing import Callable, Collection, Dict, List, Mapping, NamedTuple, Optional

from fleet.observer.discovery import camera as cameras
from fleet.observer.discovery import worker as workers
from fleet.observer.discovery.device import Announcement
from fleet.observer.discovery.standing import Standing, digest, platforms, read
from fleet.observer.vocabulary import ANYTHING, Vocabulary
from wire.cameras import CameraState
from wire.discovery import BIRTH_TOPIC, discovery_filter
from wire.messages import WorkerStatus
from wire.mqtt.packets import Publication
from wire.mqtt.pubacks import REFUSED
from wire.topics import Topics

log = logging.getLogger(__name__)

#: Announcements that are remembered, of others and of this one, at most: as many as there are cameras and
#: workers that are observed.
_MOST = 3000
#: Characters of a device's level in a discovery topic, at most: `camera-` or `worker-`, and its id.
_MAX_DEVICE = 80


class _Told(NamedTuple):
    """All that a camera's announcement depends on."""

    name: str
    area: str
    vocabulary: Vocabulary
    silent_after: float
    before: cameras.Shown
    now: cameras.Shown


class Announcer:
    """Announces cameras and workers. Calls come from one thread."""

    def __init__(
        self,
        topics: Topics,
        prefix: Optional[str],
        publish: Callable[..., object],
    ) -> None:
        """Announce nothing yet.

        Args:
            topics: those of the root.
            prefix: Home Assistant's discovery prefix; None to do nothing at all: what stands there stays.
            publish: publishes at QoS 1, several of one topic in their order.
        """
        self._topics = topics
        self._enabled = prefix is not None
        self._prefix = prefix or ""
        self._publish = publish
        self._filter = discovery_filter(self._prefix, topics)
        #: What a former observer has announced, and this one has not yet; to be kept until `keep`.
        self._standing: Dict[str, Standing] = {}
        self._is_kept = False
        #: What this announcer wants to stand there.
        self._wanted: Dict[str, Announcement] = {}
        #: What the cameras were announced by, by the topics of these.
        self._told: Dict[str, _Told] = {}
        self._refused = False

    @property
    def subscriptions(self) -> List[str]:
        """The topic filters whose messages `receive` wants, at QoS 1."""
        return [BIRTH_TOPIC, self._filter] if self._enabled else []

    def receive(self, topic: str, payload: bytes) -> bool:
        """Take in what is announced already, of whatever topic; whether it was one of the announcer's."""
        if not self._enabled:
            return False
        before, after = self._filter.split("+")
        if not (topic.startswith(before) and topic.endswith(after)):
            return False
        if not payload:  # `nanofleet cameras remove` has taken it back
            self._forget(topic)
        # What comes later is the echo of what was announced here, or nobody's who is to be replaced.
        elif not self._is_kept and topic not in self._wanted:
            found = read(payload) if len(topic) <= len(self._filter) + _MAX_DEVICE else None
            if found is not None and (topic in self._standing or len(self._standing) < _MOST):
                self._standing[topic] = found
        return True

    def camera(
        self, state: CameraState, vocabulary: Vocabulary = ANYTHING, silent_after: float = 0.0
    ) -> bool:
        """Announce a camera, if that changes something; to be called before its state is published.

        Args:
            state: the one that is published next.
            vocabulary: what its sensors may show.
            silent_after: seconds without an answer after which it is silent; 0: never.

        Returns:
            Whether it replaces another announcement: until Home Assistant has followed that, it reads the
            state as the former one says, and then knows none that may expire.
        """
        if not self._enabled:
            return False
        topic = cameras.camera_topic(state.camera, self._topics, self._prefix)
        now, former = cameras.shown(state), self._told.get(topic)
        before = former.now if former else now
        told = _Told(state.name, state.area, vocabulary, silent_after, before, now)
        if told == former:  # as it is with most states
            return False
        self._told[topic] = told
        replaces = topic in self._wanted or topic in self._standing
        wanted = cameras.announce(state, self._topics, self._prefix, vocabulary, before, silent_after)
        return self._announce(wanted) and replaces

    def worker(self, status: WorkerStatus) -> None:
        """Announce a worker, if that changes something."""
        known = self._entities(workers.worker_topic(status.worker, self._topics, self._prefix))
        self._announce(workers.announce(status, self._topics, self._prefix, known))

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
        self._standing.clear()
        self._is_kept = True

    def again(self) -> None:
        """Announce everything again, changed or not."""
        for announcement in self._wanted.values():
            self._put(announcement.topic, announcement.encode())

    def _entities(self, topic: str) -> Mapping[str, str]:
        """The platforms of the entities that a device has by now, by their keys."""
        if topic in self._wanted:
            return platforms(self._wanted[topic].payload["components"])
        return self._standing[topic].platforms if topic in self._standing else {}

    def _announce(self, wanted: Announcement) -> bool:
        """Publish an announcement; False if it stands there."""
        topic, before = wanted.topic, self._wanted.get(wanted.topic)
        if before is not None and before.payload == wanted.payload:
            return False
        known, payload = self._entities(topic), wanted.encode()
        self._wanted[topic] = wanted
        if len(self._wanted) > _MOST:  # of a camera that had to make room: should it come back, it comes anew
            displaced = next(iter(self._wanted))
            del self._wanted[displaced]
            self._told.pop(displaced, None)
        standing = self._standing.pop(topic, None)
        if standing is not None and standing.digest == digest(payload):
            return False
        components = wanted.payload["components"]
        dropped = {key: {"platform": known[key]} for key in known if key not in components}
        if dropped:  # an entity is removed by naming its platform alone, once
            farewell = Announcement(topic, {**wanted.payload, "components": {**components, **dropped}})
            self._put(topic, farewell.encode(), payload)
        else:
            self._put(topic, payload)
        return True

    def _remove(self, topic: str) -> None:
        if self._forget(topic):
            self._put(topic, b"")

    def _forget(self, topic: str) -> bool:
        """Forget what stands on a topic; returns whether something did."""
        self._told.pop(topic, None)
        standing, wanted = self._standing.pop(topic, None), self._wanted.pop(topic, None)
        return standing is not None or wanted is not None

    def _put(self, topic: str, *payloads: bytes) -> None:
        if self._enabled:
            on_puback = functools.partial(self._hear, topic)
            self._publish(*(Publication(topic, each, retain=True, on_puback=on_puback) for each in payloads))

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
