"""What is announced, against the keys that the newest core knows, and among fleets that share a broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from fleet.observer.discovery import camera as cameras
from fleet.observer.discovery import worker as workers
from fleet.observer.discovery.device import Announcement
from fleet.observer.vocabulary import ANYTHING, vocabulary
from fleet.observer.worker_clocks import WorkerClocks
from fleet.observer.workers import Workers
from labels.groups import PACKAGED, read_groups
from tests.fleet.members import change, status
from wire.cameras import CameraSettings, CameraState, Stability
from wire.discovery import node
from wire.messages import WorkerAction
from wire.topics import Topics

RULES = json.loads(
    (Path(__file__).parents[2] / "homeassistant" / "rules-2026.11.0.json").read_text(encoding="utf-8")
)
FULL = status("nano-1", latency_seconds=0.1, temperature_celsius=41.0)


def announced(root: str = "nanofleet", name: str = "door") -> List[Announcement]:
    """A camera and a worker with all that they may have, and with as little."""
    topics = Topics(root)
    states = [
        (CameraState(camera=name), CameraSettings()),
        (
            CameraState(camera=name, name="Front door", area="Entrance"),
            CameraSettings(stable=Stability(of="group")),
        ),
    ]
    statuses = [status(name), FULL.model_copy(update={"worker": name})]
    return [
        *(
            cameras.announce(state, topics, "homeassistant", vocabulary(settings))
            for state, settings in states
        ),
        *(workers.announce(told, topics, "homeassistant") for told in statuses),
    ]


@pytest.mark.parametrize("number", range(4))
def test_the_newest_core_knows_every_key(number: int) -> None:
    payload = json.loads(announced()[number].encode())
    assert set(payload) <= set(RULES["device_payload"])
    assert set(payload["device"]) <= set(RULES["device"])
    assert set(payload["origin"]) == {"name", "sw_version"}
    for component in payload["components"].values():
        rules = RULES["platforms"][component["platform"]]
        # 2025.4 takes the entity's id from object_id, which later cores drop.
        assert set(component) - {"platform", "object_id"} <= set(rules["keys"])
        assert set(rules["required"]) <= set(component)
        domain, _, name = component["default_entity_id"].partition(".")
        assert (domain, name) == (component["platform"], component["object_id"])


def choices(settings: CameraSettings, *seen: str, labels: Optional[Tuple[str, ...]] = None) -> Dict[str, Any]:
    """The states that the two sensors may have, where the camera sees one group after the other."""
    before, *_, now = [CameraState(camera="door", group=group, stable=group) for group in (*seen, seen[-1])]
    announcement = cameras.announce(
        now, Topics(), "homeassistant", vocabulary(settings, labels), cameras.shown(before)
    )
    components = announcement.payload["components"]
    assert {components[key].get("device_class") for key in components if "options" in components[key]} <= {
        "enum"
    }
    return {key: components[key].get("options") for key in ("label", "group")}


def test_what_a_camera_sees_expires_where_nobody_observes_it_any_more() -> None:
    """But not before it would have been silent, and another observer had the time to say so."""

    def expiries(silent_after: float) -> Dict[str, int]:
        state = CameraState(camera="door")
        told = cameras.announce(state, Topics(), "homeassistant", silent_after=silent_after).payload
        return {
            key: component["expire_after"]
            for key, component in told["components"].items()
            if "expire_after" in component
        }

    assert expiries(300.0) == dict.fromkeys(("label", "confidence", "group", "group_confidence"), 420)
    assert expiries(0.0) == {}
    assert set(expiries(float("inf")).values()) == {365 * 86400}


def test_a_group_is_one_of_those_of_the_cameras_settings() -> None:
    of_the_package = [*read_groups(PACKAGED["home"]), "none"]
    assert choices(CameraSettings(), "none") == {"label": None, "group": of_the_package}
    own = CameraSettings(groups={"pet": ("tabby",), "car": ()}, stable=Stability(of="group"))
    assert choices(own, "none") == {key: ["pet", "car", "none"] for key in ("label", "group")}
    assert choices(CameraSettings(groups="none"), "none")["group"] == ["none"]


def test_a_label_is_one_of_those_of_the_models_that_run_where_they_are_few() -> None:
    workers = Workers(WorkerClocks())

    def receive(name: str, *labels: str, state: Any = "online") -> Optional[Tuple[str, ...]]:
        payload = status(name, state=state, labels=labels).encode()
        workers.receive(name, payload, retained=False)
        return workers.labels

    assert workers.labels is None
    assert receive("a", "mail", "no mail") == ("mail", "no mail")
    assert receive("b", "mail", "parcel") == ("mail", "no mail", "parcel")
    assert choices(CameraSettings(), "none", labels=workers.labels)["label"] == [
        *("mail", "no mail", "parcel", "none")
    ]
    assert receive("c") is None, "of a model with many"
    assert receive("c", state="lost") == ("mail", "no mail", "parcel")
    workers.forget("b")
    assert workers.labels == ("mail", "no mail")
    assert receive("a", "mail", "no mail", state="offline") is None, "c may come back, with many"
    workers.forget("c")
    assert workers.labels == ("mail", "no mail")
    assert receive("d", *(f"{number}{'x' * 200}" for number in range(64))) is None


def test_what_is_shown_is_among_the_choices_until_something_else_is() -> None:
    """A worker may go by other settings than the observer, or by those from before."""
    own = CameraSettings(groups={"pet": ()})
    assert choices(own, "cat", "dog")["group"] == ["pet", "cat", "dog", "none"]
    assert choices(own, "dog", "pet")["group"] == ["pet", "dog", "none"]
    assert choices(own, "pet", "none")["group"] == ["pet", "none"]
    odd = CameraSettings(groups={"unknown": (), "Unavailable": ()})
    assert choices(odd, "None")["group"] == ["Unavailable", "none"]


def test_groups_that_are_too_long_to_be_told_twice_are_no_choice() -> None:
    long = CameraSettings(groups={f"{number}{'x' * 100}": () for number in range(64)})
    assert vocabulary(long) == ANYTHING
    assert choices(long, "none")["group"] is None


MEASURED = {"connectivity", "frames_per_second", "latency", "queue", "temperature", "version"}
FOLLOWED = {"model", "restart", "drain"}


def test_what_a_worker_measures_and_what_it_follows_is_announced() -> None:
    components = workers.announce(FULL, Topics(), "homeassistant").payload["components"]
    assert set(components) == MEASURED | FOLLOWED


def test_a_worker_that_ignores_control_is_given_no_choice() -> None:
    told = FULL.model_copy(update={"accepts_control": False})
    assert set(workers.announce(told, Topics(), "homeassistant").payload["components"]) == MEASURED


@pytest.mark.parametrize("action", ["restart", "drain"])
def test_a_button_sends_what_the_worker_follows(action: str) -> None:
    button = workers.announce(FULL, Topics("house"), "homeassistant").payload["components"][action]
    assert button["command_topic"] == "house/control/nano-1/action"
    assert WorkerAction.decode(button["payload_press"].encode()).action == action
    assert not button.get("retain")


def test_no_two_members_of_any_fleets_share_an_id() -> None:
    members = [
        *(
            ("a", "b_c"),
            ("a_b", "c"),
            ("a/b", "c"),
            ("a-b", "c"),
            ("a//b", "c"),
            ("a_2fb", "c"),
            ("a__b", "c"),
        ),
        *(("a/cameras", "c"), ("A", "b_c"), ("ä", "c"), ("a b", "c")),
    ]
    topics: List[str] = []
    identifiers: List[str] = []
    unique_ids: List[str] = []
    for root, name in members:
        for announcement in announced(root, name)[::2]:  # one camera, one worker
            topics.append(announcement.topic)
            identifiers += announcement.payload["device"]["identifiers"]
            unique_ids += [one["unique_id"] for one in announcement.payload["components"].values()]
    for ids in (topics, identifiers, unique_ids):
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("root", ["nanofleet", "home/cams", "a_b", "ä b"])
def test_a_root_is_one_level_of_letters_that_discovery_takes(root: str) -> None:
    assert set(node(root)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_a_default_entity_id_is_one_that_home_assistant_would_make_itself() -> None:
    topics = Topics("home/Cams")
    payload = cameras.announce(CameraState(camera="-Door--1_"), topics, "homeassistant").payload
    assert payload["components"]["label"]["default_entity_id"] == "sensor.home_cams_door_1_label"


@pytest.mark.parametrize(
    ("facts", "own", "served"),
    [
        ({"model": "resnet50", "weights": "IMAGENET1K_V2"}, "resnet50", "resnet50"),
        ({"model": "birds", "weights": "birds.onnx"}, "birds.onnx", "birds.onnx"),
        ({"model": "resnet18", "weights": "birds.pth"}, "resnet18@birds.pth", "resnet18@birds.pth"),
        (
            {"model": "vgg16", "weights": "DEFAULT", "change": change("x", instead_of="mobilenet")},
            *("mobilenet_v2", "vgg16"),
        ),
        (
            {"model": "vgg16", "weights": "DEFAULT", "change": change("x", instead_of="/m/b.onnx")},
            *("b.onnx", "vgg16"),
        ),
        (
            {"model": "vgg16", "weights": "DEFAULT", "change": change("x", instead_of="resnet18@/m/b.pth")},
            *("resnet18@b.pth", "vgg16"),
        ),
    ],
)
def test_the_models_to_choose_from(facts: Dict[str, Any], own: str, served: str) -> None:
    """The published ones, the worker's own, and what it serves."""
    announcement = workers.announce(status("nano-1", **facts), Topics(), "homeassistant")
    options = announcement.payload["components"]["model"]["options"]
    assert set(options) == {*workers.MODELS, own, served}


def test_a_model_with_a_name_that_no_state_can_have_is_no_option() -> None:
    told = status("nano-1", model="m" * 256, weights="w" * 250 + ".pth")
    components = workers.announce(told, Topics(), "homeassistant").payload["components"]
    assert components["model"]["options"] == sorted(workers.MODELS)
