"""Several fleets, removals and a restart, in a real Home Assistant."""

from __future__ import annotations

from typing import Callable

from fleet.observer.discovery.camera import camera_topic
from tests.harness import Listener, wait_for
from tests.homeassistant.conftest import Announced, standing
from tests.homeassistant.core import HomeAssistant
from tests.homeassistant.expected import BUTTONS, CAMERA, PICTURE, WORKER, ids
from wire.cameras import CameraEvent
from wire.discovery import BIRTH_TOPIC
from wire.messages import utc_now

OF_A_WORKER = len(WORKER) + len(BUTTONS)


def test_several_roots_and_ids_do_not_collide(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    """Of names that become the same entity id, each has an entity of its own."""
    fleets = [announced("/north"), announced("_north"), announced("/north/cameras")]
    for number, some in enumerate(fleets):
        some.camera("door", stable=f"label-{number}")
        some.worker("door")
    fleets[0].camera("Door", stable="label-3")
    root = fleets[0].topics.root[: -len("/north")]
    expected = 4 * len(CAMERA) + 3 * OF_A_WORKER
    wait_for(lambda: len(home.entities(root)) == expected, what=f"{expected} entities")
    labels = [one["entity_id"] for one in home.entities(root) if one["unique_id"].endswith("/label")]
    wait_for(lambda: {home.state(id_).get("state") for id_ in labels} == {f"label-{n}" for n in range(4)})


def test_what_is_removed_is_gone(home: HomeAssistant, announced: Callable[..., Announced]) -> None:
    some = announced()
    for name in ("door", "garden"):
        some.camera(name)
    some.worker("nano-1")
    root = f"{some.topics.root}/"
    wait_for(lambda: len(home.entities(root)) == 2 * len(CAMERA) + OF_A_WORKER)

    # A sensor that yields nothing for a while is no entity that is gone.
    some.worker("nano-1", temperature_celsius=None)
    home.wait_state(f"sensor.{ids(some, 'nano-1')}_temperature", "unknown")

    # Entities that the worker no longer has.
    commands = [*BUTTONS, *(key for key in WORKER if key.startswith("select."))]
    some.worker("nano-1", accepts_control=False)
    wait_for(lambda: len(home.entities(root)) == 2 * len(CAMERA) + OF_A_WORKER - len(commands))
    assert not set(home.states(root)) & {key.format(ids(some, "nano-1")) for key in commands}

    # A worker is forgotten by its status, which goes first.
    some.listener.publish(some.topics.worker("nano-1"), b"", retain=True)
    some.announcer.remove_worker("nano-1")
    some.announcer.remove_camera("door")
    some.listener.publish(some.topics.camera("door"), b"", retain=True)
    wait_for(lambda: len(home.entities(root)) == len(CAMERA))

    # What a former observer has announced, by one that comes later.
    successor = announced()
    for topic, payload in standing(some.listener, "homeassistant/device/").items():
        successor.announcer.receive(topic, payload)
    successor.announcer.keep([], [])
    wait_for(lambda: not home.entities(root))
    identifiers = [identifier for one in home.devices() for _, identifier in one["identifiers"]]
    assert not [identifier for identifier in identifiers if identifier.startswith(root)]


def test_a_restarted_home_assistant_knows_every_state(
    home: HomeAssistant,
    announced: Callable[..., Announced],
    mosquitto_url: str,
) -> None:
    some = announced()
    some.camera("door")
    some.worker("nano-1", lease_seconds=600)
    some.listener.publish(some.topics.snapshot("door"), PICTURE, retain=True)
    event = CameraEvent(
        camera="door", label="tabby", confidence=0.7, group="cat", frame_id="f2", at=utc_now()
    )
    root = f"{some.topics.root}/"
    home.wait_state(f"sensor.{ids(some, 'door')}_label", "tabby")
    some.listener.publish(some.topics.camera_event("door"), event.encode())
    before = home.wait_known(root, len(CAMERA) + len(WORKER))
    home.stop()
    # One announcement stands with the broker; the other was lost with it, and comes again at the birth.
    door = camera_topic("door", some.topics, "homeassistant")
    some.listener.publish(door, b"", retain=True)
    birth = Listener(mosquitto_url, "homeassistant/status")
    home.start()
    [born] = wait_for(lambda: birth.messages)
    birth.close()
    assert (born.topic, born.payload) == (BIRTH_TOPIC, b"online")
    some.announcer.again()
    # Only the picture's time is that of its coming.
    image = f"image.{ids(some, 'door')}_frame"
    after = home.wait_known(root, len(CAMERA) + len(WORKER))
    assert {**after, image: before[image]} == before
