"""What an observer announces to Home Assistant, on a real broker."""

from __future__ import annotations

import json
from typing import Iterator, List

import pytest

from fleet.observer.discovery import camera as cameras
from fleet.observer.observer import observing
from fleet.observer.task import Task
from tests.fleet.members import publish_status, result
from tests.fleet.observer.observing import send
from tests.fleets import Fleet
from tests.harness import Listener, wait_for
from wire.broker import BrokerSettings
from wire.cameras import CameraSettings, CameraState
from wire.messages import GroupScore
from wire.topics import Topics


@pytest.fixture
def listener(mosquitto_url: str, root: str, fleet: Fleet) -> Iterator[Listener]:
    """A listener beside an observer that announces."""
    listener = Listener(mosquitto_url, f"{root}/#", f"{root}-announced/#")
    publish_status(listener, root, "nano-1")
    with observing(task_of(mosquitto_url, root)):
        # By this the broker has its subscriptions.
        wait_for(lambda: announced(listener, root, "worker-nano-1"), what="the worker")
        yield listener
    wait_for(lambda: listener.on(f"{root}/observers/")[-1].payload == b"", what="its farewell")


def task_of(url: str, root: str) -> Task:
    """What that observer is to do."""
    return Task(
        broker=BrokerSettings(broker=url).open_broker(),
        topics=Topics(root),
        observer="o1",
        status_interval=0.5,
        file={},
        silent_after=300,
        discovery_prefix=f"{root}-announced",
    )


def announced(listener: Listener, root: str, what: str) -> List[str]:
    """The names of a device in its announcements so far; nothing where it was taken back."""
    topic = f"{root}-announced/device/{root}/{what}/config"
    payloads = [m.payload for m in listener.messages if m.topic == topic]
    return [json.loads(payload)["device"]["name"] if payload else "" for payload in payloads]


def test_cameras_and_workers_are_announced_once_and_again_on_request(listener: Listener, root: str) -> None:
    assert announced(listener, root, "worker-nano-1") == ["nano-1"]
    send(listener, root, 1, 10)
    wait_for(lambda: announced(listener, root, "camera-door") == ["door"], what="the camera")
    settings = CameraSettings(name="Front door")
    listener.publish(f"{root}/settings/cameras/door", settings.encode(), retain=True)
    wait_for(lambda: announced(listener, root, "camera-door")[-1] == "Front door", what="its name")
    publish_status(listener, root, "nano-1")
    publish_status(listener, root, "nano-1", temperature_celsius=41.0)
    wait_for(lambda: len(announced(listener, root, "worker-nano-1")) == 2, what="its temperature")
    assert announced(listener, root, "camera-door") == ["door", "Front door"]
    # Home Assistant's own topic, which another discovery prefix does not change.
    listener.publish("homeassistant/status", b"offline")
    listener.publish("homeassistant/status", b"online")
    wait_for(lambda: len(announced(listener, root, "camera-door")) == 3, what="the camera again")
    wait_for(lambda: len(announced(listener, root, "worker-nano-1")) == 3, what="the worker again")
    listener.publish(f"{root}/control/announce", b"")
    wait_for(lambda: len(announced(listener, root, "camera-door")) == 4, what="the camera once more")


def test_other_groups_are_announced_before_a_state_has_one(listener: Listener, root: str) -> None:
    """And then the state comes once more: Home Assistant may have read it by the former announcement."""
    state, told = f"{root}/cameras/door", f"{root}-announced/device/{root}/camera-door/config"

    def see(group: str, first: int) -> None:
        for n in range(first, first + 5):
            seen = (GroupScore(group=group, confidence=0.9),)
            listener.publish(f"{root}/results/door", result("door", groups=seen, frame_id=f"{n}").encode())

    def came() -> List[str]:
        """The groups of states, and choices of groups, in their order."""
        of_door = [m for m in listener.messages if m.payload and m.topic in (state, told)]
        return [
            CameraState.decode(m.payload).group
            if m.topic == state
            else ",".join(json.loads(m.payload)["components"]["group"]["options"][-3:])
            for m in of_door
        ]

    see("cat", 1)
    wait_for(lambda: "cat" in came(), what="a cat")
    before = len(came())
    settings = CameraSettings(groups={"pet": ("tabby",)})
    listener.publish(f"{root}/settings/cameras/door", settings.encode(), retain=True)
    see("pet", 6)
    wait_for(lambda: "pet,none" in came() and came()[-1] == "pet", what="a pet, and the last choice")
    after = came()[before:]
    assert "pet" in after[after.index("pet,none") :], "once more"
    assert after.index("pet,cat,none") < after.index("pet") < after.index("pet,none")


def test_what_is_removed_is_no_longer_announced(listener: Listener, root: str) -> None:
    send(listener, root, 1, 1)
    wait_for(lambda: announced(listener, root, "camera-door"), what="the camera")
    for topic in (f"{root}/cameras/door", f"{root}/workers/nano-1"):
        listener.publish(topic, b"", retain=True)
    wait_for(lambda: announced(listener, root, "camera-door")[-1] == "", what="the camera's end")
    wait_for(lambda: announced(listener, root, "worker-nano-1")[-1] == "", what="the worker's end")
    listener.publish(f"{root}/cameras/a b", b"", retain=True)
    send(listener, root, 2, 1)
    wait_for(lambda: announced(listener, root, "camera-door")[-1] == "door", what="the camera again")
    assert not announced(listener, root, "camera-a b")


def test_a_device_whose_state_may_still_come_is_not_removed_at_once(
    mosquitto_url: str, root: str, fleet: Fleet
) -> None:
    """A broker may send what is retained late; with the device its user's names of the entities would go."""
    topics = Topics(root)
    attic = cameras.announce(CameraState(camera="attic"), topics, f"{root}-announced")
    listener = Listener(mosquitto_url, f"{root}/#", f"{root}-announced/#")
    listener.publish(attic.topic, attic.encode(), retain=True)
    with observing(task_of(mosquitto_url, root)):
        publish_status(listener, root, "nano-1")
        wait_for(lambda: announced(listener, root, "worker-nano-1"), what="the worker")
        send(listener, root, 1, 1)
        wait_for(lambda: announced(listener, root, "camera-door"), what="the camera")
        assert announced(listener, root, "camera-attic") == ["attic"]
