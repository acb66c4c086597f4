"""Workers in a real Home Assistant, by its own REST and WebSocket interface."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Callable, List

from tests.fleets import Fleet
from tests.harness import MODEL, statuses, wait_for
from tests.homeassistant.conftest import Announced
from tests.homeassistant.core import HomeAssistant
from tests.homeassistant.expected import BUTTONS, WORKER, device, ids, shown
from tests.worker.seeded import seed_weights
from wire.messages import Change, ModelCommand, WorkerStatus


def test_a_worker_is_a_device_that_turns_off_and_is_given_a_model(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    workers = announced()
    workers.worker("nano-1")
    topics, prefix = workers.topics, ids(workers, "nano-1")
    model = home.wait_state(f"select.{prefix}_model", "mobilenet_v2")
    assert "resnet18" in model["attributes"]["options"]
    found = device(home, topics.worker("nano-1"))
    assert (found["name"], found["model"]) == ("nano-1", "onnxruntime on cpu")
    assert found["sw_version"] == "0.1.0"
    expected = {key.format(prefix): facts for key, facts in {**WORKER, **BUTTONS}.items()}
    assert shown(home, topics.worker("nano-1"), expected) == expected
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
    for key in [*WORKER, *BUTTONS]:
        if "connectivity" not in key:
            home.wait_state(key.format(prefix), "unavailable")


def test_a_worker_turns_off_once_its_lease_has_run_out(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    """It died with its broker, which then has no will of it, and has kept its status."""
    workers = announced()
    workers.worker("nano-1", lease_seconds=1.0)
    home.wait_state(f"binary_sensor.{ids(workers, 'nano-1')}_connectivity", "off")
    home.wait_state(f"sensor.{ids(workers, 'nano-1')}_queue", "unavailable")


def test_a_worker_leaves_the_fleets_model_for_its_own(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    """The fleet's command cannot be taken back for one worker alone."""
    workers = announced()
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


def test_a_model_of_ones_own_can_be_left_and_chosen_again(
    home: HomeAssistant, announced: Callable[..., Announced]
) -> None:
    """Its labels and preprocessing stand in the worker's settings alone: a command is taken back for it."""
    workers = announced()
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


def test_a_real_worker_is_given_a_model_and_is_killed(
    home: HomeAssistant,
    announced: Callable[..., Announced],
    fleet: Fleet,
    mosquitto_url: str,
    photos: Path,
    tmp_path: Path,
) -> None:
    some = announced()
    seed_weights(tmp_path, "resnet18")
    flags = ("--weights-dir", str(tmp_path), "--engine", "torch", "--status-interval", "0.5")
    worker = fleet.worker("--model", MODEL, *flags)

    def told() -> List[WorkerStatus]:
        """Its statuses, of which Home Assistant is told what the observer would tell it."""
        found = [status for status in statuses(some.listener.messages) if status.worker == worker.id]
        for status in found[-1:]:
            some.announcer.worker(status)
        return found

    wait_for(told)
    prefix = f"{some.topics.root}_{worker.id}".replace("-", "_")
    home.wait_state(f"binary_sensor.{prefix}_connectivity", "on")
    home.wait_state(f"select.{prefix}_model", "efficientnet_lite0")
    some.listener.publish(some.topics.frames("door"), (photos / "rocket.jpg").read_bytes())
    wait_for(lambda: told()[-1].latency_seconds)
    wait_for(lambda: home.state(f"sensor.{prefix}_latency")["state"].replace(".", "").isdigit())

    for chosen in ("resnet18", "efficientnet_lite0"):
        home.call("select", "select_option", entity_id=f"select.{prefix}_model", option=chosen)

        def serves(chosen: str = chosen) -> bool:
            told()
            return bool(home.state(f"select.{prefix}_model")["state"] == chosen)

        wait_for(serves, 90, f"{chosen} serves")

    worker.process.send_signal(signal.SIGKILL)
    home.wait_state(f"binary_sensor.{prefix}_connectivity", "off")
    home.wait_state(f"select.{prefix}_model", "unavailable")
