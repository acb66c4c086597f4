"""The blueprint and the dashboard of deploy/, in a real Home Assistant."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, ContextManager, List

import pytest
import yaml

from tests.harness import wait_for
from tests.homeassistant.conftest import Announced
from tests.homeassistant.core import HomeAssistant
from tests.homeassistant.expected import PICTURE, device, ids
from wire.messages import utc_now

DEPLOY = Path(__file__).parents[2] / "deploy" / "home-assistant"
BLUEPRINT = DEPLOY / "blueprints" / "automation" / "nanofleet" / "camera_sees.yaml"


class Automations:
    """Automations that are made from the blueprint, each of which publishes what a camera sees."""

    def __init__(self, home: HomeAssistant, fleet: Announced) -> None:
        self._home, self.fleet = home, fleet
        self._heard = f"{fleet.topics.root}/heard"
        #: The camera's group.
        self.sensor = f"sensor.{ids(fleet, 'door')}_group"

    def make(self, name: str, **inputs: Any) -> ContextManager[None]:
        """Fill in the blueprint's form; what is left out has its default."""
        said = {"topic": f"{self._heard}/{name}", "payload": "{{ seen }} on {{ camera }}"}
        given = {"sensor": self.sensor, "actions": [{"action": "mqtt.publish", "data": said}], **inputs}
        use = {"path": "nanofleet/camera_sees.yaml", "input": given}
        return self._home.automation(f"{name}_{ids(self.fleet, 'door')}", alias=name, use_blueprint=use)

    def said(self, name: str) -> List[str]:
        """What one of them has published."""
        return [message.payload.decode() for message in self.fleet.listener.on(f"{self._heard}/{name}")]


@pytest.fixture
def automations(home: HomeAssistant, announced: Callable[..., Announced]) -> Automations:
    """The blueprint, saved as the form does that imports it, and a camera that sees nothing."""
    saved = {"domain": "automation", "path": "nanofleet/camera_sees", "yaml": BLUEPRINT.read_text()}
    home.ask({"type": "blueprint/save", "allow_override": True, **saved})
    listed = home.ask({"type": "blueprint/list", "domain": "automation"})["nanofleet/camera_sees.yaml"]
    assert "error" not in listed, listed
    automations = Automations(home, announced())
    see(automations.fleet, "none")
    home.wait_state(automations.sensor, "none")
    return automations


def see(fleet: Announced, *groups: str) -> None:
    """Let the camera see one group after the other."""
    for group in groups:
        fleet.camera("door", group=group)


def test_an_automation_of_the_blueprint_acts_on_what_a_camera_sees(automations: Automations) -> None:
    fleet, sensor = automations.fleet, automations.sensor
    night = {"condition": "state", "entity_id": sensor, "state": "dog"}
    with automations.make("once", wanted=["cat", "dog"]), automations.make(
        "paused", wanted=["cat", "dog"], pause=60
    ), automations.make("only_dogs", wanted=["cat", "dog"], conditions=[night]):
        for number, group in enumerate(["cat", "dog", "cat"], start=1):
            see(fleet, "bird", group)
            wait_for(lambda number=number: len(automations.said("once")) == number)
        assert automations.said("once") == [f"{group} on {sensor}" for group in ("cat", "dog", "cat")]
        assert automations.said("paused") == [f"cat on {sensor}"]
        assert automations.said("only_dogs") == [f"dog on {sensor}"]


def test_it_has_to_be_seen_for_a_while(automations: Automations) -> None:
    fleet, sensor = automations.fleet, automations.sensor
    with automations.make("held", wanted=["cat", "dog"], held={"seconds": 1}):
        see(fleet, "cat", "none", "dog", "cat")
        wait_for(lambda: automations.said("held"))
        see(fleet, "none", "dog")
        wait_for(lambda: len(automations.said("held")) == 2)
        assert automations.said("held") == [f"cat on {sensor}", f"dog on {sensor}"]


def test_what_was_seen_before_a_restart_is_old_news(home: HomeAssistant, automations: Automations) -> None:
    fleet, sensor = automations.fleet, automations.sensor
    with automations.make("restarted", wanted=["cat", "dog"]):
        see(fleet, "cat")
        wait_for(lambda: automations.said("restarted"))
        home.call("homeassistant", "reload_config_entry", entity_id=sensor)
        home.wait_state(sensor, "cat")
        home.stop()
        home.start()
        home.wait_state(sensor, "cat")
        see(fleet, "dog")
        wait_for(lambda: f"dog on {sensor}" in automations.said("restarted"))
        assert automations.said("restarted") == [f"cat on {sensor}", f"dog on {sensor}"]


def test_what_is_seen_after_a_silence_is_new(home: HomeAssistant, automations: Automations) -> None:
    """But not what was seen before it, and has come back with it."""
    fleet, sensor = automations.fleet, automations.sensor
    seen_at = utc_now() - timedelta(minutes=1)
    with automations.make("silent", wanted=["cat", "dog"]):
        for group, since in {"cat": seen_at, "dog": None}.items():
            fleet.camera("door", silent=True)
            home.wait_state(sensor, "unavailable")
            fleet.camera("door", group=group, group_since=since or utc_now())
            home.wait_state(sensor, group)
        wait_for(lambda: automations.said("silent"))
        assert automations.said("silent") == [f"dog on {sensor}"]


def test_a_group_that_was_not_announced_before_is_news_once(
    home: HomeAssistant, automations: Automations
) -> None:
    """Home Assistant takes an entity away for a moment when it is announced anew."""
    fleet, sensor = automations.fleet, automations.sensor
    with automations.make("announced", wanted=["boat", "dog"]):
        see(fleet, "boat")
        wait_for(lambda: automations.said("announced"))
        boat = home.state(sensor)["attributes"]["since"]
        fleet.camera("door", name="Front door", group="boat", group_since=boat)
        wait_for(lambda: "Front" in home.state(sensor)["attributes"]["friendly_name"])
        see(fleet, "dog")
        wait_for(lambda: len(automations.said("announced")) == 2)
        assert automations.said("announced") == [f"boat on {sensor}", f"dog on {sensor}"]


def test_the_first_state_of_a_new_entity_is_old_news(home: HomeAssistant, automations: Automations) -> None:
    """Such as a group of sensors that Home Assistant makes again at its start."""
    sensor = f"sensor.{ids(automations.fleet, 'new')}"

    def set_state(state: str) -> None:
        home._request(f"/api/states/{sensor}", json.dumps({"state": state}).encode())

    with automations.make("new", sensor=sensor, wanted=["cat", "dog"]):
        set_state("cat")
        set_state("none")
        set_state("dog")
        wait_for(lambda: automations.said("new"))
        assert automations.said("new") == [f"dog on {sensor}"]


def rendered(home: HomeAssistant, fleet: Announced) -> List[str]:
    """What the dashboard's cards say of a fleet."""
    root = ids(fleet, "")[:-1]
    dashboard = yaml.safe_load((DEPLOY / "dashboard.yaml").read_text())
    cards = [card for view in dashboard["views"] for card in view["cards"]]
    assert {card["type"] for card in cards} == {"markdown"}
    texts = [card["content"].replace("set root = 'nanofleet'", f"set root = '{root}'") for card in cards]
    assert all(root in text for text in texts)
    return [rendered_text(home, text) for text in texts]


def rendered_text(home: HomeAssistant, template: str) -> str:
    """What Home Assistant makes of a template."""
    return home._request("/api/template", json.dumps({"template": template}).encode())[0].decode()


def test_the_dashboard_shows_cameras_and_workers(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    some = announced()
    assert "No camera has been found" in rendered(home, some)[0]
    # They are shown by their ids, whichever was there first.
    some.camera("garden", stable="none", stable_confidence=None, rejected_last=True)
    some.camera("door", name="Front door")
    some.worker("nano-1")
    prefix = ids(some, "door")
    some.listener.publish(some.topics.snapshot("door"), PICTURE, retain=True)
    wait_for(lambda: home.state(f"image.{prefix}_frame").get("state", "unknown") != "unknown")
    home.wait_state(f"binary_sensor.{ids(some, 'garden')}_problem", "on")
    home.wait_state(f"sensor.{ids(some, 'nano-1')}_temperature", "41.5")
    renamed = {"device_id": device(home, some.topics.worker("nano-1"))["id"], "name_by_user": "Nano | hall"}
    home.ask({"type": "config/device_registry/update", **renamed})
    cameras, workers = rendered(home, some)
    door, garden = cameras.split("### ")[1:]
    picture = home.state(f"image.{prefix}_frame")["attributes"]["entity_picture"]
    assert door.startswith(
        f'Front door\n\n<img src="{picture}" alt="" width="100%">\n\n**cat**, 93 %; tabby, 68 %'
    )
    assert "rejected" not in door
    assert garden.strip() == (
        "garden\n\nNo picture yet.\n\n"
        "**cat**, 93 %; no label is sure enough; **its last picture was rejected**"
    )
    head, rule, row = workers.splitlines()
    assert head.count("|") == rule.count("|") == row.replace("\\|", "").count("|")
    assert row == "| Nano \\| hall | runs | mobilenet_v2 | 12.5 fps | 42 ms | 41.5 °C |"


def test_the_dashboard_shows_no_unit_of_what_is_not_known(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    some = announced()
    moment = datetime(2026, 11, 26, 12, 5, 40, tzinfo=timezone.utc)
    some.camera("door", silent=True, last_seen=moment)
    some.camera("attic", silent=True, last_seen=None)
    some.camera("cellar", stable="none", stable_confidence=None, group="none", group_confidence=None)
    some.worker("nano-1", latency_seconds=None, temperature_celsius=None, accepts_control=False)
    for silent in ("attic", "door"):
        home.wait_state(f"binary_sensor.{ids(some, silent)}_problem", "on")
    home.wait_state(f"sensor.{ids(some, 'cellar')}_label", "none")
    home.wait_state(f"sensor.{ids(some, 'nano-1')}_frames_per_second", "12.5")
    cameras, workers = rendered(home, some)
    attic, cellar, door = cameras.split("### ")[1:]
    assert attic.strip() == "attic\n\n\n\nNothing is known now"
    assert cellar.strip().endswith("\n\n**no group**; no label is sure enough")
    there = rendered_text(
        home, "{{ ('2026-11-26T12:05:00Z' | as_datetime | as_local).strftime('%Y-%m-%d %H:%M') }}"
    )
    assert door.strip().endswith(f"\n\n**Silent** since {there}")
    assert "unavailable" not in cameras
    assert workers.splitlines()[-1] == "| nano-1 | runs | - | 12.5 fps | - | - |"
