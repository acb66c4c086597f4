"""What a camera and a worker are to look like in Home Assistant, and how to look."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Tuple

from tests.harness import wait_for
from tests.homeassistant.conftest import Announced
from tests.homeassistant.core import HomeAssistant

#: Name, state class, unit, device class and category of an entity.
Facts = Tuple[str, Any, Any, Any, Any]
CAMERA: Dict[str, Facts] = {
    "sensor.{}_label": ("Label", None, None, None, None),
    "sensor.{}_confidence": ("Label confidence", "measurement", "%", None, None),
    "sensor.{}_group": ("Group", None, None, "enum", None),
    "sensor.{}_group_confidence": ("Group confidence", "measurement", "%", None, None),
    "image.{}_frame": ("Frame", None, None, None, None),
    "event.{}_classified": ("Classified", None, None, None, None),
    "sensor.{}_last_seen": ("Last seen", None, None, "timestamp", "diagnostic"),
    "binary_sensor.{}_problem": ("Problem", None, None, "problem", "diagnostic"),
}
WORKER: Dict[str, Facts] = {
    "binary_sensor.{}_connectivity": ("Connectivity", None, None, "connectivity", "diagnostic"),
    "select.{}_model": ("Model", None, None, None, "config"),
    "sensor.{}_frames_per_second": ("Frames per second", "measurement", "fps", None, "diagnostic"),
    "sensor.{}_latency": ("Latency", "measurement", "ms", "duration", "diagnostic"),
    "sensor.{}_queue": ("Queue", "measurement", "frames", None, "diagnostic"),
    "sensor.{}_temperature": ("Temperature", "measurement", "°C", "temperature", "diagnostic"),
    "sensor.{}_version": ("Version", None, None, None, "diagnostic"),
}
#: These have no state until somebody presses them.
BUTTONS: Dict[str, Facts] = {
    "button.{}_restart": ("Restart", None, None, "restart", "config"),
    "button.{}_drain": ("Drain", None, None, None, "config"),
}
PICTURE = b"\xff\xd8\xff\xe0 no picture, but Home Assistant does not look"


def ids(fleet: Announced, name: str) -> str:
    """What the entity ids of a camera or worker begin with."""
    return f"{fleet.topics.root}_{name}".replace("-", "_").replace("/", "_")


def shown(home: HomeAssistant, identifier: str, entity_ids: Iterable[str]) -> Dict[str, Facts]:
    """The entities of one device as Home Assistant shows them, once some have a state."""
    for entity_id in entity_ids:
        wait_for(lambda entity_id=entity_id: home.state(entity_id), what=entity_id)
    devices = {device["id"]: device for device in home.devices()}
    found: Dict[str, Facts] = {}
    for entity in home.entities():
        device = devices[entity["device_id"]]
        if ["mqtt", identifier] in device["identifiers"]:
            attributes = home.state(entity["entity_id"])["attributes"]
            device_name = device["name"]
            assert attributes["friendly_name"] == f"{device_name} {entity['original_name']}"
            found[entity["entity_id"]] = (
                entity["original_name"],
                attributes.get("state_class"),
                attributes.get("unit_of_measurement"),
                attributes.get("device_class"),
                entity["entity_category"],
            )
    return found


def device(home: HomeAssistant, identifier: str) -> Dict[str, Any]:
    """One device, once it is there."""

    def find() -> Any:
        return [one for one in home.devices() if ["mqtt", identifier] in one["identifiers"]]

    found: Dict[str, Any] = wait_for(find, what=identifier)[0]
    return found
