"""When something is announced, and what is removed."""

from __future__ import annotations

import json
import tracemalloc
from typing import Dict, List, Optional, Tuple

import pytest

from fleet.observer.discovery import camera as cameras
from fleet.observer.discovery.announcer import Announcer
from fleet.observer.vocabulary import vocabulary
from tests.fleet.members import status
from wire.cameras import CameraSettings, CameraState, Stability
from wire.mqtt.packets import Publication
from wire.topics import Topics

TOPICS = Topics("home/cams")
DOOR = "ha/device/home_2fcams/camera-door/config"
NANO = "ha/device/home_2fcams/worker-nano-1/config"


class Kept:
    """An announcer, and what it has published."""

    def __init__(self, prefix: Optional[str] = "ha") -> None:
        self.published: List[Publication] = []
        self.announcer = Announcer(TOPICS, prefix, self._publish)

    def _publish(self, *publications: Publication) -> None:
        self.published += publications

    def take(self) -> List[str]:
        """The topics of what was published since the last time."""
        topics = [publication.topic for publication in self.published]
        self.published.clear()
        return topics


def test_it_announces_changes_only() -> None:
    kept = Kept()
    kept.announcer.camera(CameraState(camera="door"))
    kept.announcer.worker(status("nano-1"))
    assert all(publication.retain for publication in kept.published)
    assert kept.take() == [DOOR, NANO]
    kept.announcer.camera(CameraState(camera="door", stable="cat", frames=3))
    kept.announcer.worker(status("nano-1", frames_per_second=12.0))
    assert kept.take() == []
    kept.announcer.camera(CameraState(camera="door", name="Front door"))
    assert kept.take() == [DOOR]


def test_a_choice_of_states_grows_before_a_state_and_shrinks_after_it() -> None:
    """Home Assistant logs an error of a state that is not among the choice."""
    kept, pets = Kept(), vocabulary(CameraSettings(groups={"pet": ()}))
    choices = []
    for group, words in (
        *(("cat", vocabulary(CameraSettings())), ("cat", pets), ("pet", pets), ("pet", pets)),
        ("none", pets),
    ):
        replaces = kept.announcer.camera(CameraState(camera="door", group=group), words)
        assert replaces is (len(choices) > 0 and bool(kept.published))
        found = [json.loads(each.payload)["components"]["group"]["options"] for each in kept.published]
        choices.append(found[0] if found else None)
        kept.published.clear()
    assert choices[0][-1] == "none"
    assert choices[1:] == [["pet", "cat", "none"], None, ["pet", "none"], None]


def test_it_announces_all_again_on_request() -> None:
    kept = Kept()
    kept.announcer.camera(CameraState(camera="door"))
    kept.announcer.worker(status("nano-1"))
    kept.take()
    kept.announcer.again()
    assert kept.take() == [DOOR, NANO]
    kept.announcer.remove_camera("door")
    kept.take()
    kept.announcer.again()
    assert kept.take() == [NANO]


def test_what_stands_there_is_not_announced_again() -> None:
    kept, state = Kept(), CameraState(camera="door")
    assert kept.announcer.receive(DOOR, cameras.announce(state, TOPICS, "ha").encode())
    assert not kept.announcer.camera(state)
    assert kept.take() == []
    kept.announcer.again()
    assert kept.take() == [DOOR]


def test_a_former_observers_announcement_is_replaced_as_ones_own() -> None:
    """Home Assistant then has to be given the state once more."""
    kept, state = Kept(), CameraState(camera="door")
    kept.announcer.receive(DOOR, cameras.announce(state, TOPICS, "ha").encode())
    assert kept.announcer.camera(state, silent_after=60.0)
    assert kept.take() == [DOOR]


def test_the_longest_choice_is_recognised_as_ones_own() -> None:
    groups: Dict[str, Tuple[str, ...]] = {f"{number:02}{60 * chr(0x732B)}": () for number in range(64)}
    words = vocabulary(CameraSettings(groups=groups, stable=Stability(of="group")))
    assert words.stable is not None
    former, kept = Kept(), Kept()
    former.announcer.camera(CameraState(camera="door"), words)
    kept.announcer.receive(DOOR, former.published[0].payload)
    kept.announcer.camera(CameraState(camera="door"), words)
    assert kept.take() == []


def test_a_dropped_entity_is_named_once_more_by_its_platform_alone() -> None:
    kept = Kept()
    kept.announcer.worker(status("nano-1"))
    kept.published.clear()
    kept.announcer.worker(status("nano-1", accepts_control=False))
    first, second = [json.loads(publication.payload)["components"] for publication in kept.published]
    assert first.pop("model") == {"platform": "select"}
    assert set(first) - set(second) <= {"restart", "drain"}
    assert "model" not in second


def test_a_sensor_that_yields_nothing_for_a_while_keeps_its_entity() -> None:
    """With the entity Home Assistant would remove the name that its user has given it."""
    former, kept = Kept(), Kept()
    for announcer in (former.announcer, kept.announcer):
        announcer.worker(status("nano-1", temperature_celsius=41.0))
        announcer.worker(status("nano-1"))
    assert len(former.published) == 1
    successor = Kept()
    successor.announcer.receive(NANO, former.published[0].payload)
    successor.announcer.worker(status("nano-1"))
    assert successor.take() == []


def test_little_is_kept_of_what_stands_there_whatever_anybody_has_written() -> None:
    kept = Kept()
    components = {"c": {"platform": "sensor", "x": [0] * 2000}, "k" * 1000: {"platform": "sensor"}}
    components.update({f"e{n}": {"platform": "p" * 1000} for n in range(30)})
    payload = json.dumps({"origin": {"name": "nanofleet"}, "components": components}).encode()
    many = json.dumps({"origin": {"name": "nanofleet"}, "components": {"c": [[]] * 20_000}}).encode()
    before = "ha/device/home_2fcams/"
    tracemalloc.start()
    for n in range(500):
        kept.announcer.receive(f"{before}camera-{n}/config", payload)
        kept.announcer.receive(f"{before}camera-{n}-{10_000 * 'x'}/config", payload)
    for n in range(50):
        kept.announcer.receive(f"{before}many-{n}/config", many)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1_000_000
    kept.announcer.keep([], [])
    assert len(kept.take()) == 500  # of ours, as far as anybody can tell


def test_it_remembers_a_bounded_number_of_its_own() -> None:
    kept = Kept()
    for n in range(3100):  # cameras that somebody makes up displace each other
        kept.announcer.camera(CameraState(camera=f"c{n}"))
    kept.take()
    kept.announcer.again()
    assert len(kept.take()) == 3000


def test_once_it_has_removed_what_is_gone_it_remembers_nothing_of_strangers() -> None:
    kept = Kept()
    kept.announcer.keep([], [])
    kept.announcer.receive(DOOR, cameras.announce(CameraState(camera="door"), TOPICS, "ha").encode())
    kept.announcer.keep([], [])
    assert kept.take() == []


def test_it_removes_what_is_gone_also_what_a_former_observer_announced() -> None:
    former, kept = Kept(), Kept()
    former.announcer.camera(CameraState(camera="attic"))
    former.announcer.camera(CameraState(camera="door"))
    for publication in former.published:
        kept.announcer.receive(publication.topic, publication.payload)
    kept.announcer.camera(CameraState(camera="door"))
    kept.announcer.keep(["door"], [])
    assert [publication.payload for publication in kept.published] == [b""]
    assert kept.take() == [DOOR.replace("door", "attic")]
    kept.announcer.remove_camera("door")
    assert kept.take() == [DOOR]
    kept.announcer.remove_camera("door")
    kept.announcer.remove_worker("nano-1")
    kept.announcer.keep([], [])
    assert kept.take() == []


def test_what_another_has_taken_back_is_not_taken_back_twice_and_can_be_announced_again() -> None:
    kept = Kept()
    kept.announcer.camera(CameraState(camera="door"))
    kept.take()
    assert kept.announcer.receive(DOOR, b"")
    kept.announcer.remove_camera("door")
    kept.announcer.again()
    assert kept.take() == []
    kept.announcer.camera(CameraState(camera="door"))
    assert kept.take() == [DOOR]


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"7", b"[]", b"null", b'{"origin": 1}', b"[" * 5000, b'"' + b"x" * (1 << 17) + b'"'),
        json.dumps({"origin": {"name": "zigbee2mqtt"}, "components": {}}).encode(),
        json.dumps({"origin": {"name": "nanofleet"}, "components": []}).encode(),
    ],
)
def test_what_is_not_ours_is_left_alone(payload: bytes) -> None:
    kept = Kept()
    kept.announcer.receive(DOOR, payload)
    kept.announcer.keep([], [])
    assert kept.take() == []


def test_what_others_have_put_in_the_place_of_components_is_replaced() -> None:
    kept = Kept()
    odd = {
        "origin": {"name": "nanofleet"},
        "components": {"a": 1, "b": {"platform": []}, "c": {"platform": "sensor"}},
    }
    kept.announcer.receive(DOOR, json.dumps(odd).encode())
    kept.announcer.camera(CameraState(camera="door"))
    first, second = [json.loads(publication.payload)["components"] for publication in kept.published]
    assert set(first) - set(second) == {"c"}


def test_messages_of_others_are_not_for_the_announcer() -> None:
    kept = Kept()
    assert kept.announcer.subscriptions == ["homeassistant/status", "ha/device/home_2fcams/+/config"]
    for topic in ("ha/device/nanofleet/camera-door/config", "home/cams/cameras/door", "ha/statuses"):
        assert not kept.announcer.receive(topic, b"online")


def test_a_broker_that_refuses_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    kept.announcer.camera(CameraState(camera="door"))
    kept.announcer.worker(status("nano-1"))
    for reason_code in (0x00, 0x10, 0x87):  # taken, without a subscriber, not authorized
        for publication in kept.published:
            assert publication.on_puback is not None
            publication.on_puback(reason_code)
    [line] = caplog.messages
    assert line.startswith(f"the broker refuses {DOOR} (0x87): ")


def test_without_home_assistant_nothing_is_announced_and_nothing_removed() -> None:
    kept = Kept(None)
    assert kept.announcer.subscriptions == []
    former = cameras.announce(CameraState(camera="door"), TOPICS, "ha")
    assert not kept.announcer.receive(former.topic, former.encode())
    kept.announcer.camera(CameraState(camera="door"))
    kept.announcer.again()
    kept.announcer.keep([], [])
    kept.announcer.remove_camera("door")
    assert kept.take() == []
