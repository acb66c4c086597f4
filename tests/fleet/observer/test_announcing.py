"""What an announcer is asked, and what becomes of what it says, on a real broker."""

from __future__ import annotations

from typing import Iterator, List, Sequence

import pytest

from fleet.observer.observer import observing
from fleet.observer.task import Task
from tests.fleet.members import publish_status
from tests.fleet.observer.observing import send
from tests.fleets import Fleet
from tests.harness import Listener, wait_for
from wire.broker import BrokerSettings
from wire.cameras import CameraSettings, CameraState
from wire.messages import WorkerStatus
from wire.mqtt.packets import Delivery, Publication
from wire.topics import Topics


class Announcer:
    """Announces names and models below a topic of its own."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    @property
    def topics(self) -> Sequence[str]:
        return [f"{self._prefix}/status"]

    def asks_again(self, delivery: Delivery) -> bool:
        return delivery.topic == f"{self._prefix}/status" and delivery.payload == b"online"

    def _publication(self, kind: str, name: str, text: str) -> List[Publication]:
        return [Publication(f"{self._prefix}/{kind}/{name}", text.encode(), retain=True)]

    def camera(self, state: CameraState) -> List[Publication]:
        return self._publication("camera", state.camera, state.name or state.camera)

    def camera_removed(self, camera: str) -> List[Publication]:
        return self._publication("camera", camera, "")

    def worker(self, status: WorkerStatus) -> List[Publication]:
        return self._publication("worker", status.worker, status.model)

    def worker_removed(self, worker: str) -> List[Publication]:
        return self._publication("worker", worker, "")


@pytest.fixture
def listener(mosquitto_url: str, root: str, fleet: Fleet) -> Iterator[Listener]:
    """A listener beside an observer that announces."""
    task = Task(
        broker=BrokerSettings(broker=mosquitto_url).open_broker(),
        topics=Topics(root),
        observer="o1",
        status_interval=0.5,
        file={},
        silent_after=300,
        announcers=[Announcer(f"{root}-announced")],
    )
    listener = Listener(mosquitto_url, f"{root}/#", f"{root}-announced/#")
    publish_status(listener, root, "nano-1")
    with observing(task):
        # By this the broker has its subscriptions.
        wait_for(lambda: announced(listener, root, "worker/nano-1"), what="the worker")
        yield listener
    wait_for(lambda: listener.on(f"{root}/observers/")[-1].payload == b"", what="its farewell")


def announced(listener: Listener, root: str, what: str) -> List[str]:
    return [m.payload.decode() for m in listener.on(f"{root}-announced/{what}")]


def test_cameras_and_workers_are_announced_once_and_again_on_request(listener: Listener, root: str) -> None:
    assert announced(listener, root, "worker/nano-1") == ["mobilenet_v2"]
    send(listener, root, 1, 10)
    wait_for(lambda: announced(listener, root, "camera/door") == ["door"], what="the camera")
    settings = CameraSettings(name="Front door")
    listener.publish(f"{root}/settings/cameras/door", settings.encode(), retain=True)
    wait_for(lambda: announced(listener, root, "camera/door")[-1] == "Front door", what="its name")
    publish_status(listener, root, "nano-1")
    publish_status(listener, root, "nano-1", model="resnet18")
    wait_for(lambda: announced(listener, root, "worker/nano-1")[-1] == "resnet18", what="its model")
    assert announced(listener, root, "worker/nano-1") == ["mobilenet_v2", "resnet18"]
    assert announced(listener, root, "camera/door") == ["door", "Front door"]
    listener.publish(f"{root}-announced/status", b"offline")
    listener.publish(f"{root}-announced/status", b"online")
    wait_for(lambda: len(announced(listener, root, "camera/door")) == 3, what="the camera again")
    wait_for(lambda: len(announced(listener, root, "worker/nano-1")) == 3, what="the worker again")
    listener.publish(f"{root}/control/announce", b"")
    wait_for(lambda: len(announced(listener, root, "camera/door")) == 4, what="the camera once more")


def test_what_is_removed_is_no_longer_announced(listener: Listener, root: str) -> None:
    send(listener, root, 1, 1)
    wait_for(lambda: announced(listener, root, "camera/door"), what="the camera")
    for topic in (f"{root}/cameras/door", f"{root}/workers/nano-1"):
        listener.publish(topic, b"", retain=True)
    wait_for(lambda: announced(listener, root, "camera/door")[-1] == "", what="the camera's end")
    wait_for(lambda: announced(listener, root, "worker/nano-1")[-1] == "", what="the worker's end")
    listener.publish(f"{root}/cameras/a b", b"", retain=True)
    send(listener, root, 2, 1)
    wait_for(lambda: announced(listener, root, "camera/door")[-1] == "door", what="the camera anew")
    assert not announced(listener, root, "camera/a b")
