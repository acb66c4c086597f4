"""Cameras in a real Home Assistant, by its own REST and WebSocket interface."""

from __future__ import annotations

from typing import Callable, ContextManager, List

from labels.groups import PACKAGED, read_groups
from tests.harness import wait_for
from tests.homeassistant.conftest import Announced, camera_state
from tests.homeassistant.core import HomeAssistant
from tests.homeassistant.expected import CAMERA, PICTURE, device, ids, shown
from wire.cameras import CameraEvent, CameraSettings, Stability
from wire.messages import utc_now


def test_a_camera_is_a_device_with_its_entities(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    cameras = announced()
    state = cameras.camera("door", name="Front door", area="Entrance")
    topics, prefix = cameras.topics, ids(cameras, "door")
    label = home.wait_state(f"sensor.{prefix}_label", "tabby")
    assert label["attributes"]["top"] == ["tabby"]
    assert label["attributes"]["confidences"] == [0.71]
    assert label["attributes"]["frame_id"] == "f1"
    assert label["attributes"]["worker"] == "nano-1"
    identifier = topics.camera("door")
    found = device(home, identifier)
    areas = {area["area_id"]: area["name"] for area in home.ask({"type": "config/area_registry/list"})}
    assert (found["name"], found["manufacturer"], found["model"]) == ("Front door", "nanofleet", "Camera")
    assert areas[found["area_id"]] == "Entrance"
    expected = {key.format(prefix): facts for key, facts in CAMERA.items()}
    assert shown(home, identifier, expected) == expected
    home.wait_state(f"sensor.{prefix}_group", "cat")
    home.wait_state(f"sensor.{prefix}_confidence", "67.8")
    home.wait_state(f"sensor.{prefix}_group_confidence", "93.0")
    home.wait_state(f"binary_sensor.{prefix}_problem", "off")
    assert state.last_seen is not None
    home.wait_state(
        f"sensor.{prefix}_last_seen", state.last_seen.replace(second=0).isoformat(timespec="seconds")
    )


def test_the_group_is_one_of_a_choice_that_follows_the_settings(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    """Whatever comes first, a state or the choice that has it, nothing is logged."""
    cameras = announced()
    prefix = ids(cameras, "door")
    group, label = f"sensor.{prefix}_group", f"sensor.{prefix}_label"

    def offered(entity: str) -> List[str]:
        return list(home.state(entity).get("attributes", {}).get("options", []))

    cameras.camera("door")
    home.wait_state(group, "cat")
    assert offered(group) == [*read_groups(PACKAGED["home"]), "none"]
    assert offered(label) == []
    pets = CameraSettings(groups={"pet": (), "car": ()}, stable=Stability(of="group"))
    cameras.camera("door", pets)
    wait_for(lambda: offered(group) == ["pet", "car", "cat", "none"])
    assert home.state(group)["state"] == "cat"
    for seen in ("pet", "none", "car"):
        for _ in range(2):
            cameras.camera("door", pets, group=seen, stable=seen)
    home.wait_state(group, "car")
    wait_for(lambda: offered(group) == ["pet", "car", "none"])
    wait_for(lambda: offered(label) == ["pet", "car", "none"])
    home.wait_state(label, "car")
    # Of a worker that goes by settings the observer does not have, before these are announced.
    stranger = camera_state("door", group="boat", stable="car")
    cameras.listener.publish(cameras.topics.camera("door"), stranger.encode(), retain=True)
    home.wait_state(group, "unknown")
    cameras.camera("door", pets, group="boat", stable="car")
    wait_for(lambda: "boat" in offered(group))
    cameras.camera("door", pets, group="boat", stable="car")
    home.wait_state(group, "boat")
    cameras.camera("door")
    home.wait_state(label, "tabby")
    assert offered(label) == []


def test_a_new_name_is_followed_and_a_new_area_is_not(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    """An area is suggested to a new device alone: docs/home-assistant.md says so."""
    cameras = announced()
    cameras.camera("door", name="Door", area="Entrance")
    home.wait_state(f"sensor.{ids(cameras, 'door')}_label", "tabby")
    identifier = cameras.topics.camera("door")
    area = device(home, identifier)["area_id"]
    assert area is not None
    cameras.camera("door", name="Back door", area="Garden")
    wait_for(lambda: device(home, identifier)["name"] == "Back door")
    assert device(home, identifier)["area_id"] == area


def test_what_a_camera_sees_its_picture_and_its_events(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    cameras = announced()
    cameras.camera("door")
    topics, prefix = cameras.topics, ids(cameras, "door")
    home.wait_state(f"event.{prefix}_classified", "unknown")
    home.wait_state(f"image.{prefix}_frame", "unknown")
    cameras.listener.publish(topics.snapshot("door"), PICTURE, retain=True)
    wait_for(lambda: home.state(f"image.{prefix}_frame")["state"] != "unknown")
    picture = home.state(f"image.{prefix}_frame")["attributes"]["entity_picture"]
    assert home.fetch(picture) == (PICTURE, "image/jpeg")
    event = CameraEvent(
        camera="door", label="tabby", confidence=0.7, group="cat", frame_id="f2", at=utc_now()
    )
    cameras.listener.publish(topics.camera_event("door"), event.encode())
    wait_for(lambda: home.state(f"event.{prefix}_classified")["state"] != "unknown")
    attributes = home.state(f"event.{prefix}_classified")["attributes"]
    assert attributes["event_type"] == "classified"
    assert (attributes["label"], attributes["confidence"], attributes["group"]) == ("tabby", 0.7, "cat")

    cameras.camera("door", stable="none", stable_confidence=None, confidence=0.21, rejected_last=True)
    home.wait_state(f"sensor.{prefix}_label", "none")
    home.wait_state(f"sensor.{prefix}_confidence", "21.0")
    home.wait_state(f"binary_sensor.{prefix}_problem", "on")

    nothing = {"label": None, "confidence": None, "stable": "none", "stable_confidence": None}
    cameras.camera("door", **nothing, rejected_last=True)
    home.wait_state(f"sensor.{prefix}_confidence", "unknown")

    cameras.camera("door", silent=True)
    for entity in (f"sensor.{prefix}_label", f"sensor.{prefix}_confidence", f"image.{prefix}_frame"):
        home.wait_state(entity, "unavailable")
    home.wait_state(f"binary_sensor.{prefix}_problem", "on")
    assert home.state(f"sensor.{prefix}_last_seen")["state"] != "unavailable"
    # An event comes before the state that ends a silence, and is not lost.
    cameras.listener.publish(topics.camera_event("door"), event.model_copy(update={"label": "lynx"}).encode())
    wait_for(lambda: home.state(f"event.{prefix}_classified")["attributes"].get("label") == "lynx")


def test_what_labels_and_names_hold_is_text_and_no_template(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    cameras = announced()
    label = f"sensor.{ids(cameras, 'door')}_label"
    cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable="{{ 2 }}", group="{{ 3 }}")
    assert home.wait_state(label, "{{ 2 }}")["attributes"]["friendly_name"] == '{{ 1 }} "x" Label'
    home.wait_state(label.replace("label", "group"), "{{ 3 }}")
    cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable="x" * 256)
    home.wait_state(label, "x" * 255)
    for number, odd in enumerate(("None", "unknown", "unavailable", "", " ")):  # Home Assistant's own words
        cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable=f"cat {number}")
        home.wait_state(label, f"cat {number}")
        cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable=odd)
        home.wait_state(label, "none")


def test_automations_act_on_the_label_and_on_the_event(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    cameras = announced()
    cameras.camera("door", stable="none", stable_confidence=None)
    topics, prefix = cameras.topics, ids(cameras, "door")
    home.wait_state(f"sensor.{prefix}_label", "none")
    heard = f"{topics.root}/heard"

    def repeated(entity: str, told: str) -> ContextManager[None]:
        """An automation that publishes what the entity has become."""
        action = {"action": "mqtt.publish", "data": {"topic": f"{heard}/{entity}", "payload": told}}
        trigger = {"trigger": "state", "entity_id": entity}
        name = entity.replace(".", "_")
        return home.automation(name, alias=entity, triggers=[trigger], actions=[action])

    with repeated(f"sensor.{prefix}_label", "{{ trigger.to_state.state }}"):
        cameras.camera("door")
        wait_for(lambda: [m for m in cameras.listener.on(f"{heard}/sensor") if m.payload == b"tabby"])
    with repeated(f"event.{prefix}_classified", "{{ trigger.to_state.attributes.label }}"):
        event = CameraEvent(
            camera="door", label="lynx", confidence=0.7, group="cat", frame_id="f2", at=utc_now()
        )
        cameras.listener.publish(topics.camera_event("door"), event.encode())
        wait_for(lambda: [m for m in cameras.listener.on(f"{heard}/event") if m.payload == b"lynx"])
