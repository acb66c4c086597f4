"""A user's own way: a worker is started, a camera publishes, and Home Assistant shows both."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Iterator, List

import pytest

from tests.fleets import Fleet
from tests.harness import MODEL, WorkerProcess, nanofleet, statuses, wait_for
from tests.homeassistant.core import HomeAssistant
from tests.tiny import LABELS
from wire.observers import ObserverStatus

#: With an observer, quick to notice that another is gone.
OBSERVES = ("--model", MODEL, "--observe", "--status-interval", "0.5", "--adopt-after", "1")


class House:
    """A fleet with an observer, as Home Assistant shows it."""

    def __init__(self, home: HomeAssistant, fleet: Fleet, photos: Path) -> None:
        self.home = home
        self.fleet = fleet
        self._photos = photos
        self._sent = 0
        self.slug = fleet.root.replace("-", "_")

    def worker(self, id: str = "w1") -> WorkerProcess:
        """Start a worker; the first one observes."""
        worker = self.fleet.worker(*OBSERVES, id=id)
        if id == "w1":
            worker.wait_said("observing the cameras of")
        return worker

    def see(self, *photos: str, camera: str = "door") -> None:
        """Have a camera publish photos, one after the other; the last one's answer is awaited."""
        reader = self.fleet.listen(f"results/{camera}")
        for photo in photos:
            self._sent += 1
            content = (self._photos / photo).read_bytes()
            self.fleet.send(camera, content, frame_id=f"frame-{self._sent}")
        wait_for(lambda: len(reader.messages) == len(photos), what="the answers")

    def entity(self, kind: str, camera: str, what: str) -> str:
        return f"{kind}.{self.slug}_{camera}_{what}"

    def is_now(self, kind: str, what: str, state: str, camera: str = "door") -> None:
        self.home.wait_state(self.entity(kind, camera, what), state)

    def entities(self) -> List[str]:
        """The ids of all entities of this fleet."""
        return sorted(each["entity_id"] for each in self.home.entities(f"{self.fleet.root}/"))


@pytest.fixture
def house(home: HomeAssistant, fleet: Fleet, photos: Path) -> Iterator[House]:
    """A house, of which nothing is left in Home Assistant."""
    made = House(home, fleet, photos)
    yield made
    for worker in fleet.workers:  # they would announce themselves again
        worker.stop()
    reader = fleet.listen("#")
    announced = fleet.at(fleet.url)
    announced.root = "homeassistant/device"
    discovery = announced.listen("#")
    wait_for(lambda: reader.messages and discovery.on(f"homeassistant/device/{fleet.root}/"))
    for listener, prefix in ((discovery, f"homeassistant/device/{fleet.root}/"), (reader, f"{fleet.root}/")):
        for topic in {message.topic for message in listener.on(prefix) if message.payload}:
            listener.publish(topic, b"", retain=True)
    wait_for(lambda: not made.entities(), what="no entity is left")


def test_what_cameras_see_is_shown_and_announced(house: House) -> None:
    house.worker()
    house.see(*["coffee.png"] * 3)
    house.is_now("sensor", "label", "espresso")
    house.is_now("sensor", "group", "food")
    assert "options" not in house.home.state(house.entity("sensor", "door", "label"))["attributes"]
    confidence = float(house.home.state(house.entity("sensor", "door", "confidence"))["state"])
    assert 80 < confidence < 90
    # Each cat alone is a guess; that it is a cat is sure.
    house.see(*["chelsea.png"] * 5)
    house.is_now("sensor", "group", "cat")
    house.is_now("sensor", "label", "none")


def test_the_labels_of_a_model_with_few_are_a_choice(house: House) -> None:
    worker = house.fleet.worker("--observe", "--status-interval", "0.5")
    worker.wait_said("observing the cameras of")
    house.see("coffee.png")
    label = house.entity("sensor", "door", "label")
    offered = wait_for(lambda: house.home.state(label).get("attributes"), what=label)
    assert (offered["device_class"], offered["options"]) == ("enum", [*LABELS, "none"])


def test_two_close_scenes_do_not_flap(house: House) -> None:
    house.worker()
    house.see(*["coffee.png"] * 3)
    house.is_now("sensor", "label", "espresso")
    events = house.fleet.listen("events/door")
    house.see(*["coffee.png", "camera.png"] * 4)
    house.is_now("sensor", "label", "espresso")
    assert events.messages == []


def test_a_killed_worker_turns_off_and_another_observes_on_without_a_double(house: House) -> None:
    worker = house.worker()
    house.see(*["coffee.png"] * 3)
    house.is_now("sensor", "label", "espresso")
    other = house.worker("w2")
    house.is_now("binary_sensor", "connectivity", "on", camera=f"{house.slug}_w2")
    before = house.entities()
    reader = house.fleet.listen("observers/+")
    worker.process.send_signal(signal.SIGKILL)
    house.is_now("binary_sensor", "connectivity", "off", camera=f"{house.slug}_w1")
    other.wait_said("observing the cameras of")
    house.see(*["chelsea.png"] * 5)
    house.is_now("sensor", "group", "cat")
    active = [m for m in reader.messages if m.payload and ObserverStatus.decode(m.payload).active]
    assert active[-1].topic.endswith("w2")
    assert house.entities() == before


def test_a_restarted_home_assistant_shows_every_state_at_once(house: House) -> None:
    house.worker()
    house.see(*["coffee.png"] * 3)
    house.is_now("sensor", "label", "espresso")
    house.home.stop()
    house.home.start()
    house.is_now("sensor", "label", "espresso")
    house.is_now("sensor", "group", "food")
    states = house.home.states(f"{house.fleet.root}/")
    unknown = {entity for entity, state in states.items() if state == "unknown"}
    # A picture comes with snapshots; an event is no state, and is not kept.
    assert unknown <= {house.entity("image", "door", "frame"), house.entity("event", "door", "classified")}


def test_a_removed_camera_takes_its_entities_along(house: House) -> None:
    house.worker()
    house.see("coffee.png")
    house.see("coffee.png", camera="attic")
    label = house.entity("sensor", "attic", "label")
    wait_for(lambda: house.home.state(label), what=label)
    where = ("--broker", house.fleet.url, "--root", house.fleet.root)
    assert nanofleet("cameras", "remove", "attic", *where).returncode == 0
    wait_for(lambda: not house.home.state(label), what="no attic")
    assert house.home.state(house.entity("sensor", "door", "label"))


def test_a_friendly_name_an_area_and_a_region(house: House) -> None:
    house.worker()
    where = ("--broker", house.fleet.url, "--root", house.fleet.root)
    settings = ("name=Front door", "area=Entrance", "k=1", "n=1")
    assert nanofleet("cameras", "set", "door", *settings, *where).returncode == 0
    house.see("coffee.png")
    house.is_now("sensor", "label", "espresso")
    attributes = house.home.state(house.entity("sensor", "door", "label"))["attributes"]
    assert attributes["friendly_name"] == "Front door Label"
    before = house.home.state(house.entity("sensor", "door", "confidence"))["state"]
    # A corner of the table is no coffee.
    assert nanofleet("cameras", "set", "door", "region=0,0.9,0.1,1", *where).returncode == 0
    house.see("coffee.png")
    wait_for(lambda: house.home.state(house.entity("sensor", "door", "confidence"))["state"] != before)
    assert house.home.state(house.entity("sensor", "door", "label"))["state"] != "espresso"


def test_the_buttons_drain_and_restart_a_worker(house: House) -> None:
    worker = house.fleet.worker(*OBSERVES)
    reader = house.fleet.listen("workers/+", "results/+")
    name = f"{house.slug}_w1"
    house.is_now("binary_sensor", "connectivity", "on", camera=name)
    first = wait_for(lambda: statuses(reader.messages))[0].instance

    def press(what: str) -> None:
        button = house.entity("button", name, what)
        wait_for(lambda: house.home.state(button).get("state", "unavailable") != "unavailable", what=button)
        house.home.call("button", "press", entity_id=button)

    press("restart")
    wait_for(lambda: statuses(reader.messages)[-1].instance != first, 90, "another instance")
    house.is_now("binary_sensor", "connectivity", "on", camera=name)
    house.see("coffee.png")
    press("drain")
    assert worker.process.wait(60) == 0
    house.is_now("binary_sensor", "connectivity", "off", camera=name)
    house.is_now("button", "restart", "unavailable", camera=name)
