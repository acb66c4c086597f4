"""What a real Home Assistant makes of what is announced, by its own REST and WebSocket interface."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

from fleet.observer.discovery.camera import camera_topic
from tests.harness import Listener, wait_for
from tests.homeassistant.conftest import Fleet, standing
from tests.homeassistant.core import HomeAssistant
from wire.cameras import CameraEvent
from wire.messages import Change, ModelCommand, utc_now

#: Name, state class, unit, device class and category of an entity.
Facts = Tuple[str, Any, Any, Any, Any]
CAMERA: Dict[str, Facts] = {
    "sensor.{}_label": ("Label", None, None, None, None),
    "sensor.{}_group": ("Group", None, None, None, None),
    "sensor.{}_confidence": ("Confidence", "measurement", "%", None, None),
    "image.{}_frame": ("Frame", None, None, None, None),
    "event.{}_classified": ("Classified", None, None, None, None),
    "sensor.{}_last_seen": ("Last seen", None, None, "timestamp", "diagnostic"),
    "binary_sensor.{}_problem": ("Problem", None, None, "problem", "diagnostic"),
}
WORKER: Dict[str, Facts] = {
    "binary_sensor.{}_connectivity": ("Connectivity", None, None, "connectivity", "diagnostic"),
    "select.{}_model": ("Model", None, None, None, "config"),
    "sensor.{}_frames_per_second": ("Frames per second", "measurement", "fps", None, None),
    "sensor.{}_latency": ("Latency", "measurement", "ms", "duration", "diagnostic"),
    "sensor.{}_queue": ("Queue", "measurement", "frames", None, "diagnostic"),
    "sensor.{}_temperature": ("Temperature", "measurement", "°C", "temperature", "diagnostic"),
    "sensor.{}_version": ("Version", None, None, None, "diagnostic"),
}
PICTURE = b"\xff\xd8\xff\xe0 no picture, but Home Assistant does not look"


def ids(fleet: Fleet, name: str) -> str:
    """What the entity ids of a camera or worker begin with."""
    return f"{fleet.topics.root}_{name}".replace("-", "_").replace("/", "_")


def shown(home: HomeAssistant, identifier: str) -> Dict[str, Facts]:
    """The entities of one device as Home Assistant shows them."""
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


def test_a_camera_is_a_device_with_its_entities(home: HomeAssistant, fleet: Callable[..., Fleet]) -> None:
    cameras = fleet()
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
    assert shown(home, identifier) == {key.format(prefix): facts for key, facts in CAMERA.items()}
    home.wait_state(f"sensor.{prefix}_group", "cat")
    home.wait_state(f"sensor.{prefix}_confidence", "67.8")
    home.wait_state(f"binary_sensor.{prefix}_problem", "off")
    assert state.last_seen is not None
    home.wait_state(f"sensor.{prefix}_last_seen", state.last_seen.isoformat(timespec="seconds"))


def test_what_a_camera_sees_its_picture_and_its_events(
    home: HomeAssistant, fleet: Callable[..., Fleet]
) -> None:
    cameras = fleet()
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

    cameras.camera("door", silent=True)
    for entity in (f"sensor.{prefix}_label", f"sensor.{prefix}_confidence", f"image.{prefix}_frame"):
        home.wait_state(entity, "unavailable")
    home.wait_state(f"binary_sensor.{prefix}_problem", "on")
    assert home.state(f"sensor.{prefix}_last_seen")["state"] != "unavailable"


def test_a_worker_leaves_the_fleets_model_for_its_own(
    home: HomeAssistant, fleet: Callable[..., Fleet]
) -> None:
    """The fleet's command cannot be taken back for one worker alone."""
    workers = fleet()
    change = Change(
        command="x",
        topic=workers.topics.model_command(),
        model="resnet18",
        instead_of="mobilenet",
        state="serving",
    )
    workers.worker("nano-1", model="resnet18", weights="IMAGENET1K_V1", change=change)
    select = f"select.{ids(workers, 'nano-1')}_model"
    home.wait_state(select, "resnet18")
    home.call("select", "select_option", entity_id=select, option="mobilenet_v2")
    [command] = wait_for(lambda: workers.listener.on(workers.topics.model_command("nano-1")))
    assert ModelCommand.decode(command.payload).choice.model == "mobilenet_v2"


def test_what_labels_and_names_hold_is_text_and_no_template(
    home: HomeAssistant, fleet: Callable[..., Fleet]
) -> None:
    cameras = fleet()
    label = f"sensor.{ids(cameras, 'door')}_label"
    cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable="{{ 2 }}", group="{{ 3 }}")
    assert home.wait_state(label, "{{ 2 }}")["attributes"]["friendly_name"] == '{{ 1 }} "x" Label'
    home.wait_state(label.replace("label", "group"), "{{ 3 }}")
    cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable="x" * 256)
    home.wait_state(label, "x" * 255)
    cameras.camera("door", name='{{ 1 }} "x"', area="{% if %}", stable="None")
    home.wait_state(label, "none")


def test_a_worker_is_a_device_that_turns_off_and_is_given_a_model(
    home: HomeAssistant, fleet: Callable[..., Fleet]
) -> None:
    workers = fleet()
    workers.worker("nano-1")
    topics, prefix = workers.topics, ids(workers, "nano-1")
    model = home.wait_state(f"select.{prefix}_model", "mobilenet_v2")
    assert "resnet18" in model["attributes"]["options"]
    found = device(home, topics.worker("nano-1"))
    assert (found["name"], found["model"]) == ("nano-1", "onnxruntime on cpu")
    assert found["sw_version"] == "0.1.0"
    assert shown(home, topics.worker("nano-1")) == {key.format(prefix): fact for key, fact in WORKER.items()}
    for entity, state in (
        *(("sensor.{}_latency", "42.1"), ("sensor.{}_queue", "3"), ("sensor.{}_temperature", "41.5")),
        *(("sensor.{}_frames_per_second", "12.5"), ("sensor.{}_version", "0.1.0")),
        ("binary_sensor.{}_connectivity", "on"),
    ):
        home.wait_state(entity.format(prefix), state)

    home.call("select", "select_option", entity_id=f"select.{prefix}_model", option="resnet18")
    control = topics.model_command("nano-1")
    [command] = wait_for(lambda: workers.listener.on(control))
    assert ModelCommand.decode(command.payload).choice.model == "resnet18"
    followed = Change(
        command="home-assistant", topic=control, model="resnet18", instead_of="mobilenet", state="serving"
    )
    workers.worker("nano-1", model="resnet18", weights="IMAGENET1K_V1", change=followed)
    home.wait_state(f"select.{prefix}_model", "resnet18")
    home.call("select", "select_option", entity_id=f"select.{prefix}_model", option="mobilenet_v2")
    [_, taken_back] = wait_for(lambda: workers.listener.on(control)[1:] and workers.listener.on(control))
    assert taken_back.payload == b""

    workers.worker("nano-1", state="lost")
    home.wait_state(f"binary_sensor.{prefix}_connectivity", "off")
    for key in WORKER:
        if "connectivity" not in key:
            home.wait_state(key.format(prefix), "unavailable")


def test_a_worker_turns_off_once_its_lease_has_run_out(
    home: HomeAssistant, fleet: Callable[..., Fleet]
) -> None:
    """It died with its broker, which then has no will of it, and has kept its status."""
    workers = fleet()
    workers.worker("nano-1", lease_seconds=1.0)
    home.wait_state(f"binary_sensor.{ids(workers, 'nano-1')}_connectivity", "off")
    home.wait_state(f"sensor.{ids(workers, 'nano-1')}_queue", "unavailable")


def test_a_model_of_ones_own_can_be_left_and_chosen_again(
    home: HomeAssistant, fleet: Callable[..., Fleet]
) -> None:
    """Its labels and preprocessing stand in the worker's settings alone: a command is taken back for it."""
    workers = fleet()
    topics, own = workers.topics, 'resnet18@"birds" {{ 1 }}.pth'
    workers.worker("nano-1", model="resnet18", weights='"birds" {{ 1 }}.pth')
    select = f"select.{ids(workers, 'nano-1')}_model"
    home.wait_state(select, own)
    control = topics.model_command("nano-1")
    home.call("select", "select_option", entity_id=select, option="vgg16")
    wait_for(lambda: workers.listener.on(control))
    change = Change(
        command="x", topic=control, model="vgg16", instead_of=f"resnet18@/models/{own[9:]}", state="serving"
    )
    workers.worker("nano-1", model="vgg16", weights="IMAGENET1K_V1", change=change)
    home.wait_state(select, "vgg16")
    home.call("select", "select_option", entity_id=select, option=own)
    wait_for(lambda: len(workers.listener.on(control)) == 2)
    assert workers.listener.on(control)[1].payload == b""


def test_several_roots_and_ids_do_not_collide(home: HomeAssistant, fleet: Callable[..., Fleet]) -> None:
    """Of names that become the same entity id, each has an entity of its own."""
    fleets = [fleet("/north"), fleet("_north"), fleet("/north/cameras")]
    for number, some in enumerate(fleets):
        some.camera("door", stable=f"label-{number}")
        some.worker("door")
    fleets[0].camera("Door", stable="label-3")
    root = fleets[0].topics.root[: -len("/north")]
    expected = 4 * len(CAMERA) + 3 * len(WORKER)
    wait_for(lambda: len(home.entities(root)) == expected, what=f"{expected} entities")
    labels = [one["entity_id"] for one in home.entities(root) if one["unique_id"].endswith("/label")]
    wait_for(lambda: {home.state(id_)["state"] for id_ in labels} == {f"label-{n}" for n in range(4)})


def test_what_is_removed_is_gone(home: HomeAssistant, fleet: Callable[..., Fleet]) -> None:
    some = fleet()
    for name in ("door", "garden"):
        some.camera(name)
    some.worker("nano-1")
    root = f"{some.topics.root}/"
    wait_for(lambda: len(home.entities(root)) == 2 * len(CAMERA) + len(WORKER))

    # An entity that the worker no longer has.
    some.worker("nano-1", temperature_celsius=None)
    wait_for(lambda: len(home.entities(root)) == 2 * len(CAMERA) + len(WORKER) - 1)
    assert f"sensor.{ids(some, 'nano-1')}_temperature" not in home.states(root)

    # A worker is forgotten by its status, which goes first.
    some.listener.publish(some.topics.worker("nano-1"), b"", retain=True)
    some.announcer.remove_worker("nano-1")
    some.announcer.remove_camera("door")
    some.listener.publish(some.topics.camera("door"), b"", retain=True)
    wait_for(lambda: len(home.entities(root)) == len(CAMERA))

    # What a former observer has announced, by one that comes later.
    successor = fleet()
    for topic, payload in standing(some.listener, "homeassistant/device/").items():
        successor.announcer.receive(topic, payload)
    successor.announcer.keep([], [])
    wait_for(lambda: not home.entities(root))
    identifiers = [identifier for one in home.devices() for _, identifier in one["identifiers"]]
    assert not [identifier for identifier in identifiers if identifier.startswith(root)]


def test_a_restarted_home_assistant_knows_every_state(
    home: HomeAssistant,
    fleet: Callable[..., Fleet],
    listen: Callable[..., Listener],
    mosquitto_url: str,
) -> None:
    some = fleet()
    some.camera("door")
    some.worker("nano-1", lease_seconds=600)
    some.listener.publish(some.topics.snapshot("door"), PICTURE, retain=True)
    event = CameraEvent(
        camera="door", label="tabby", confidence=0.7, group="cat", frame_id="f2", at=utc_now()
    )
    root = f"{some.topics.root}/"
    classified = f"event.{ids(some, 'door')}_classified"
    home.wait_state(classified, "unknown")
    some.listener.publish(some.topics.camera_event("door"), event.encode())
    before = home.wait_known(root, len(CAMERA) + len(WORKER))
    home.stop()
    # One announcement stands with the broker; the other was lost with it, and comes again at the birth.
    door = camera_topic("door", some.topics, "homeassistant")
    some.listener.publish(door, b"", retain=True)
    birth = listen(mosquitto_url, "homeassistant/status")
    home.start()
    [born] = wait_for(lambda: birth.messages)
    assert some.announcer.receive(born.topic, born.payload)
    # Only the picture's time is that of its coming.
    image = f"image.{ids(some, 'door')}_frame"
    after = home.wait_known(root, len(CAMERA) + len(WORKER))
    assert {**after, image: before[image]} == before
