"""Changing the model of a running fleet: `nanofleet models use | reset`."""

from __future__ import annotations

import getpass
import signal
from pathlib import Path
from typing import Callable, Dict

from tests.end_to_end.commanding import (
    OTHER,
    OTHER_CHOICE,
    SAME,
    USE_OTHER,
    USE_SAME,
    answers,
    latest,
    models,
    photo,
    start,
    wait_change,
)
from tests.fleets import Fleet, on_both_brokers
from tests.harness import (
    Mosquitto,
    failures,
    wait_for,
)
from tests.ports import free_port
from tests.tiny import COFFEE, TINY, TINY_NAME, tiny_model
from wire.messages import ModelCommand


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(
    photos: Path,
    fleet: Fleet,
) -> None:
    worker = start(fleet)
    listener = fleet.listen("results/+", "workers/+")
    for model, says in (
        ("resnet81", "resnet18"),
        ("resnet18@missing.pth", "missing.pth"),
        (f"resnet18@{photos / 'coffee.pth'}", "below the worker's weights folder"),
    ):
        refused = models(fleet, "use", model)
        assert refused.returncode == 1, refused.stdout
        assert "failed" in refused.stdout
        assert "No worker can run it: the command is taken back" in refused.stdout
        failed = wait_for(lambda m=model: failures(listener.messages, m), what="the listener hears it too")  # type: ignore[misc]
        assert failed[-1].instead_of == tiny_model()[1]
        assert says in failed[-1].detail
        wait_for(lambda: latest(listener, worker).change is None, what="no command is left")
    fleet.send("door", photo(photos))
    (answer,) = wait_for(lambda: answers(listener), what="an answer")
    assert (answer.label, answer.model) == (COFFEE, TINY_NAME)


def test_one_worker_the_fleet_and_back(
    fleet: Fleet,
) -> None:
    workers = {
        "one": start(fleet, id="one", wait=False),
        "two": start(fleet, id="two", wait=False),
        "deaf": start(fleet, "--ignore-control", id="deaf", wait=False),
    }
    for worker in workers.values():
        worker.wait_ready()
    listener = fleet.listen("workers/+")

    def wait_running(**expected: str) -> None:
        """The command has ended with a status that the listener may hear a moment later."""

        def running() -> Dict[str, str]:
            return {name: latest(listener, worker).weights for name, worker in workers.items()}

        wait_for(lambda: running() == expected, what=str(expected))

    own, same, other = TINY, SAME, OTHER
    one = models(fleet, "use", *USE_OTHER, "--worker", workers["one"].id)
    assert one.returncode == 0, one.stdout + one.stderr
    wait_running(one=other, two=own, deaf=own)

    all_three = models(fleet, "use", *USE_SAME)
    assert all_three.returncode == 1, "two of three do not follow"
    assert "--ignore-control" in all_three.stdout
    assert f"reset --worker {workers['one'].id}" in all_three.stdout
    wait_change(listener, workers["two"], f"{fleet.root}/control/model")
    assert latest(listener, workers["deaf"]).accepts_control is False

    many = models(fleet, "use", *USE_SAME, "--canary", "2")
    assert many.returncode == 1
    assert "3 workers are online, and 2 of them have --ignore-control or a command" in many.stderr

    back = models(fleet, "reset", "--worker", workers["one"].id)
    assert back.returncode == 0, back.stdout + back.stderr
    wait_change(listener, workers["one"], f"{fleet.root}/control/model")
    wait_running(one=same, two=same, deaf=own)
    assert latest(listener, workers["one"]).model != own
    assert models(fleet, "reset").returncode == 0
    wait_for(lambda: all(latest(listener, w).change is None for w in workers.values()), what="no change left")
    assert "no command" in models(fleet, "reset").stdout
    assert models(fleet, "use", *USE_SAME, "--worker", "nobody").returncode == 1


def test_a_worker_that_starts_later_follows_the_command(fleet: Fleet) -> None:
    listener = fleet.listen("workers/+")
    command = ModelCommand(id="early", choice=OTHER_CHOICE)
    listener.publish(f"{fleet.root}/control/model", command.encode(), retain=True)
    worker = start(fleet)
    wait_for(lambda: (c := latest(listener, worker).change) and c.state == "serving", 60, what="the change")
    assert latest(listener, worker).weights == OTHER
    listener.publish(f"{fleet.root}/control/model", b"", retain=True)


@on_both_brokers
def test_a_command_that_is_taken_back_while_a_worker_loads_it_is_not_followed(
    fleet: Fleet,
) -> None:
    """Its session begins when the model is loaded, and hears nothing of what is no longer there."""
    listener = fleet.listen("workers/+")
    command = ModelCommand(id="early", choice=OTHER_CHOICE)
    listener.publish(f"{fleet.root}/control/model", command.encode(), retain=True)
    worker = start(fleet, wait=False)
    worker.wait_said(f"/weights/{OTHER}")
    listener.publish(f"{fleet.root}/control/model", b"", retain=True)
    worker.wait_ready()
    # A status may come between the swap and the end of the change.
    wait_for(
        lambda: (told := latest(listener, worker)).weights == TINY and told.change is None,
        60,
        "its own model, and no change",
    )


def test_a_broker_that_comes_later_is_asked_before_there_are_frames(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    """The command is another one than when the worker was here last, and frames wait for it."""
    data = tmp_path / "data"
    data.mkdir()
    user = f"user {getpass.getuser()}"
    broker = mosquitto("allow_anonymous true", "persistence true", f"persistence_location {data}/", user)
    fleet = fleet.at(broker.url)
    worker = start(fleet)
    listener = fleet.listen("results/+")
    worker.stop(signal.SIGKILL)
    fleet.send("door", photo(photos))
    command = ModelCommand(id="later", choice=OTHER_CHOICE)
    listener.publish(f"{fleet.root}/control/model", command.encode(), retain=True)
    listener.close()
    broker.stop()
    worker.start()
    wait_for(lambda: worker.log.read_text().count(" classes, by ") == 2, 60, "a model without a broker")
    assert worker.said("cannot reach")
    broker.start()
    listener = fleet.listen("results/+")
    (answer,) = wait_for(lambda: answers(listener), 60, "the answer to what has waited")
    assert answer.weights == OTHER


def test_reading_commands_ends_no_session_where_the_broker_names_the_clients(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    fleet: Fleet,
) -> None:
    """There whoever reads the commands gets the worker's own session, and its frames."""
    others = free_port()
    named = ("use_username_as_clientid true", "allow_anonymous true", f"listener {others} 127.0.0.1")
    broker = mosquitto(*named)
    worker = fleet.at(broker.url.replace("://", "://hall@")).worker()
    fleet = fleet.at(f"mqtt://127.0.0.1:{others}")
    listener = fleet.listen("results/+")
    worker.stop(signal.SIGKILL)
    for _ in range(5):
        fleet.send("door", photo(photos))
    worker.start()
    wait_for(lambda: len(answers(listener)) == 5, 60, "the answers to what has waited")
