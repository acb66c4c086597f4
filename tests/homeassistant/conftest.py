"""One Home Assistant core for all tests of this folder; each has a root of its own."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator

import pytest

from fleet.observer.discovery.announcer import Announcer
from fleet.observer.vocabulary import vocabulary
from tests.fleet import members
from tests.harness import Listener
from tests.homeassistant.core import HomeAssistant
from wire.camera_settings import DEFAULTS
from wire.cameras import CameraSettings, CameraState
from wire.messages import Candidate, utc_now
from wire.mqtt.packets import Publication
from wire.topics import Topics


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, mosquitto_url: str) -> Iterator[HomeAssistant]:
    """A core on the broker of all tests."""
    home = HomeAssistant(tmp_path_factory.mktemp("home-assistant"), mosquitto_url)
    try:
        yield home.start()
    finally:
        home.stop()


@pytest.fixture
def home(core: HomeAssistant) -> Iterator[HomeAssistant]:
    """That core, which has nothing to complain of when the test is over."""
    before = len(core.said())
    yield core
    complaints = core.complaints(since=before)
    assert not complaints, "\n".join(complaints)


class Announced:
    """What a fleet publishes below its root, and an announcer of its own."""

    def __init__(self, listener: Listener, root: str, prefix: str) -> None:
        self.topics = Topics(root)
        self.listener = listener
        self.announcer = Announcer(self.topics, prefix, self._publish)

    def camera(self, camera: str, settings: CameraSettings = DEFAULTS, **facts: Any) -> CameraState:
        """A camera's state, announced and published."""
        state = camera_state(camera, **facts)
        self.announcer.camera(state, vocabulary(settings), silent_after=300)
        self.listener.publish(self.topics.camera(camera), state.encode(), retain=True)
        return state

    def worker(self, name: str, **facts: Any) -> None:
        """A worker's status, published and announced."""
        usual = {
            "latency_seconds": 0.0421,
            "temperature_celsius": 41.5,
            "frames_per_second": 12.5,
            "in_hand": 3,
        }
        status = members.status(name, **{**usual, **facts})
        self.listener.publish(self.topics.worker(name), status.encode(), retain=True)
        self.announcer.worker(status)

    def _publish(self, *publications: Publication) -> None:
        for publication in publications:
            self.listener.publish(publication.topic, publication.payload, retain=publication.retain)


def camera_state(camera: str, **facts: Any) -> CameraState:
    """The state of a camera that sees a cat."""
    now = utc_now()
    usual = {
        **{"label": "tabby", "confidence": 0.71, "stable": "tabby", "stable_confidence": 0.678},
        **{"stable_since": now, "group": "cat", "group_confidence": 0.93, "group_since": now},
        **{"last_known": "tabby", "last_known_at": now, "last_seen": now, "frame_id": "f1", "frames": 7},
        **{"worker": "nano-1", "model": "mobilenet_v2"},
        "top": [Candidate(label="tabby", index=281, confidence=0.71)],
    }
    return CameraState(camera=camera, **{**usual, **facts})


@pytest.fixture
def announced(mosquitto_url: str, root: str) -> Iterator[Callable[..., Announced]]:
    """Fleets, below this test's root or one below that; nothing of them stays with the broker."""
    listener = Listener(mosquitto_url, f"{root}/#", f"{root}_north/#", "homeassistant/device/#")

    def begin(below: str = "") -> Announced:
        return Announced(listener, root + below, "homeassistant")

    yield begin
    for prefix in (
        "homeassistant/device/",
        root,
    ):  # the entities first, and only what stands there: as it should be
        for topic in standing(listener, prefix):
            listener.publish(topic, b"", retain=True)
    listener.close()


def standing(listener: Listener, prefix: str) -> Dict[str, bytes]:
    """What stands on the topics that begin so, by what a listener has heard."""
    last = {message.topic: message.payload for message in listener.on(prefix)}
    return {topic: payload for topic, payload in last.items() if payload}
