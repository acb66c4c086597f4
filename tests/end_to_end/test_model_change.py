"""Changing the model of a running fleet: `nanofleet models use | reset`, under load, with canaries."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import signal
import statistics
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest
import torch
import torchvision.models as zoo
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet.ports import free_port
from tests.harness import (
    MODEL,
    Listener,
    Mosquitto,
    WorkerProcess,
    failures,
    nanofleet,
    statuses,
    wait_for,
)
from wire.messages import ModelCommand, Rejection, Result, WorkerStatus

#: The worker's own model at another size: its pixels differ, and its answers hardly do.
SMALLER = [MODEL, "--resize", "224", "--crop", "192"]
FAST_STATUS = ("--status-interval", "0.2")


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory, weights_dir: Path) -> Path:
    """With an untrained network's checkpoint, which answers something else than a trained one."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "nanofleet").symlink_to(weights_dir / "nanofleet")
    torch.manual_seed(0)
    torch.save(zoo.resnet18(weights=None).state_dict(), folder / "untrained.pth")
    return folder


@pytest.fixture
def start(
    start_worker: Callable[..., WorkerProcess], mosquitto_url: str, weights_dir: Path
) -> Callable[..., WorkerProcess]:
    """Start a worker that says often how it is."""

    def start(*flags: str, **options: object) -> WorkerProcess:
        return start_worker(mosquitto_url, *FAST_STATUS, "--weights-dir", str(weights_dir), *flags, **options)

    return start


@pytest.fixture
def models(mosquitto_url: str, root: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `nanofleet models …` on this test's fleet."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return nanofleet("models", *arguments, "--broker", mosquitto_url, "--root", root)

    return run


@contextlib.contextmanager
def camera(listener: Listener, root: str, image: bytes, interval: float) -> Iterator[List[str]]:
    """Publish frames at a steady rate while the block lasts; the ids of those sent."""
    sent: List[str] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(interval):
            sent.append(f"frame-{len(sent)}")
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("frame-id", sent[-1])
            listener.publish(f"{root}/frames/door", image, properties=properties)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def latest(listener: Listener, worker: WorkerProcess) -> WorkerStatus:
    """What a worker has said last, as far as the listener has heard; its first status is waited for."""

    def heard() -> List[WorkerStatus]:
        return [status for status in statuses(listener.messages) if status.worker == worker.id]

    status: WorkerStatus = wait_for(heard, what=f"a status of {worker.id}'s")[-1]
    return status


def wait_change(listener: Listener, worker: WorkerProcess, topic: str) -> None:
    """Wait until the listener has heard as well that a worker serves what a topic commands."""

    def serving() -> bool:
        change = latest(listener, worker).change
        return change is not None and (change.state, change.topic) == ("serving", topic)

    wait_for(serving, what=f"{worker.id} serves what {topic} commands")


def answers(listener: Listener, root: str) -> List[Result]:
    return [Result.decode(m.payload) for m in listener.on(f"{root}/results/")]


def test_a_swap_under_load_loses_and_rejects_nothing(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    models: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    start()
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/rejects/+", f"{root}/workers/+")
    with camera(listener, root, (photos / "coffee.png").read_bytes(), 0.1) as sent:
        wait_for(lambda: len(answers(listener, root)) >= 20, what="20 answers before")
        changed_at = len(sent)
        # As no other test has it: so it is exported under the load as well.
        changed = models("use", "resnet18@untrained.pth", "--crop", "200")
        after = len(sent)
        again = models("use", *SMALLER)
        back_at = len(sent)
        wait_for(lambda: len(answers(listener, root)) >= back_at + 20, 60, what="20 answers after")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert again.returncode == 0, again.stdout + again.stderr
    wait_for(lambda: len(answers(listener, root)) >= len(sent), 60, what="all answers")
    found = answers(listener, root)
    assert Counter(a.frame_id for a in found) == Counter(sent)
    assert listener.on(f"{root}/rejects/") == []
    # In the order in which they were sent: one of the former model may be answered after one of the next.
    weights = [a.weights for a in sorted(found, key=lambda a: sent.index(a.frame_id))]
    assert [name for name, _ in itertools.groupby(weights)] == [
        "IMAGENET1K_V1",
        "untrained.pth",
        "IMAGENET1K_V1",
    ]
    total = [a.timings_ms["total"] for a in found]
    for name, some in (
        ("before", total[:changed_at]),
        ("during", total[changed_at:after]),
        ("after", total[after:]),
    ):
        if len(some) > 1:
            p99 = statistics.quantiles(some, n=100)[-1]
            print(f"{name}: {len(some)} frames, median {statistics.median(some):.0f} ms, p99 {p99:.0f} ms")


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    models: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    worker = start()
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/+")
    for model, says in (
        ("resnet81", "resnet18"),
        ("resnet18@missing.pth", "missing.pth"),
        (f"resnet18@{photos / 'coffee.pth'}", "below the worker's weights folder"),
    ):
        refused = models("use", model)
        assert refused.returncode == 1, refused.stdout
        assert "failed" in refused.stdout
        assert "No worker can run it: the command is taken back" in refused.stdout
        failed = wait_for(lambda m=model: failures(listener.messages, m), what="the listener hears it too")  # type: ignore[misc]
        assert failed[-1].instead_of == MODEL
        assert says in failed[-1].detail
        wait_for(lambda: latest(listener, worker).change is None, what="no command is left")
    listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes())
    (answer,) = wait_for(lambda: answers(listener, root), what="an answer")
    assert (answer.label, answer.model) == ("espresso", MODEL)


def test_one_worker_the_fleet_and_back(
    mosquitto_url: str,
    root: str,
    start: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    models: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    workers = {
        "one": start(worker_id="one", wait=False),
        "two": start(worker_id="two", wait=False),
        "deaf": start("--ignore-control", worker_id="deaf", wait=False),
    }
    for worker in workers.values():
        worker.wait_ready()
    listener = listen(mosquitto_url, f"{root}/workers/+")

    def wait_running(**expected: str) -> None:
        """The command has ended with a status that the listener may hear a moment later."""

        def running() -> Dict[str, str]:
            return {name: latest(listener, worker).weights for name, worker in workers.items()}

        wait_for(lambda: running() == expected, what=str(expected))

    own, other = "IMAGENET1K_V1", "untrained.pth"
    one = models("use", "resnet18@untrained.pth", "--worker", workers["one"].id)
    assert one.returncode == 0, one.stdout + one.stderr
    wait_running(one=other, two=own, deaf=own)

    fleet = models("use", *SMALLER)
    assert fleet.returncode == 1, "two of three do not follow"
    assert "--ignore-control" in fleet.stdout
    assert f"reset --worker {workers['one'].id}" in fleet.stdout
    wait_change(listener, workers["two"], f"{root}/control/model")
    assert latest(listener, workers["deaf"]).accepts_control is False

    many = models("use", MODEL, "--canary", "2")
    assert many.returncode == 1
    assert "3 workers are online, and 2 of them have --ignore-control or a command" in many.stderr

    back = models("reset", "--worker", workers["one"].id)
    assert back.returncode == 0, back.stdout + back.stderr
    wait_change(listener, workers["one"], f"{root}/control/model")
    wait_running(one=own, two=own, deaf=own)
    assert models("reset").returncode == 0
    wait_for(lambda: all(latest(listener, w).change is None for w in workers.values()), what="no change left")
    assert "no command" in models("reset").stdout
    assert models("use", MODEL, "--worker", "nobody").returncode == 1


def test_a_worker_that_starts_later_follows_the_command(
    mosquitto_url: str, root: str, start: Callable[..., WorkerProcess], listen: Callable[..., Listener]
) -> None:
    listener = listen(mosquitto_url, f"{root}/workers/+")
    command = ModelCommand(id="early", choice={"model": "resnet18@untrained.pth"})
    listener.publish(f"{root}/control/model", command.encode(), retain=True)
    worker = start()
    wait_for(lambda: (c := latest(listener, worker).change) and c.state == "serving", 60, what="the change")
    assert latest(listener, worker).weights == "untrained.pth"
    listener.publish(f"{root}/control/model", b"", retain=True)


def test_a_command_that_is_taken_back_while_a_worker_loads_it_is_not_followed(
    broker_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    weights_dir: Path,
    listen: Callable[..., Listener],
) -> None:
    """Its session begins when the model is loaded, and hears nothing of what is no longer there."""
    listener = listen(broker_url, f"{root}/workers/+")
    command = ModelCommand(id="early", choice={"model": "resnet18@untrained.pth"})
    listener.publish(f"{root}/control/model", command.encode(), retain=True)
    flags = (*FAST_STATUS, "--weights-dir", str(weights_dir))
    worker = start_worker(broker_url, *flags, wait=False)
    worker.wait_said("loading resnet18@")
    listener.publish(f"{root}/control/model", b"", retain=True)
    worker.wait_ready()
    # A status may come between the swap and the end of the change.
    wait_for(
        lambda: (told := latest(listener, worker)).weights == "IMAGENET1K_V1" and told.change is None,
        60,
        "its own model, and no change",
    )


def test_a_broker_that_comes_later_is_asked_before_there_are_frames(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    weights_dir: Path,
    tmp_path: Path,
    listen: Callable[..., Listener],
) -> None:
    """The command is another one than when the worker was here last, and frames wait for it."""
    data = tmp_path / "data"
    data.mkdir()
    user = f"user {getpass.getuser()}"
    broker = mosquitto("allow_anonymous true", "persistence true", f"persistence_location {data}/", user)
    worker = start_worker(broker.url, *FAST_STATUS, "--weights-dir", str(weights_dir))
    listener = listen(broker.url, f"{root}/results/+")
    worker.stop(signal.SIGKILL)
    listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes())
    command = ModelCommand(id="later", choice={"model": "resnet18@untrained.pth"})
    listener.publish(f"{root}/control/model", command.encode(), retain=True)
    listener.close()
    broker.stop()
    worker.start()
    wait_for(lambda: worker.log.read_text().count(" classes, by ") == 2, 60, "a model without a broker")
    assert worker.said("cannot reach")
    broker.start()
    listener = listen(broker.url, f"{root}/results/+")
    (answer,) = wait_for(lambda: answers(listener, root), 60, "the answer to what has waited")
    assert answer.weights == "untrained.pth"


def test_reading_commands_ends_no_session_where_the_broker_names_the_clients(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    """There whoever reads the commands gets the worker's own session, and its frames."""
    others = free_port()
    named = ("use_username_as_clientid true", "allow_anonymous true", f"listener {others} 127.0.0.1")
    broker = mosquitto(*named)
    worker = start_worker(broker.url.replace("://", "://hall@"))
    listener = listen(f"mqtt://127.0.0.1:{others}", f"{root}/results/+")
    worker.stop(signal.SIGKILL)
    for _ in range(5):
        listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes())
    worker.start()
    wait_for(lambda: len(answers(listener, root)) == 5, 60, "the answers to what has waited")


def test_a_canary_that_has_the_model_already_is_said_at_once(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    models: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    start()
    listener = listen(mosquitto_url, f"{root}/results/+")
    with camera(listener, root, (photos / "coffee.png").read_bytes(), 0.15):
        canary = models("use", MODEL, "--canary", "1", "--canary-frames", "3")
    assert canary.returncode == 1
    assert "there is nothing to compare it with" in canary.stdout
    assert "the canaries could not change: rolling back" in canary.stdout


@pytest.mark.parametrize(
    ("model", "agrees"), [(SMALLER, True), (["resnet18@untrained.pth"], False)], ids=["good", "bad"]
)
def test_canaries_go_first_and_decide(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    models: Callable[..., subprocess.CompletedProcess[str]],
    model: List[str],
    agrees: bool,
) -> None:
    first, second = start(worker_id="a", wait=False), start(worker_id="b", wait=False)
    first.wait_ready()
    second.wait_ready()
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/rejects/+", f"{root}/workers/+")
    with camera(listener, root, (photos / "coffee.png").read_bytes(), 0.15) as sent:
        # The machine may be busy with other things than this fleet: only agreement is to decide.
        canary = models("use", *model, "--canary", "1", "--canary-frames", "15", "--max-slowdown", "1000")

    def changes() -> List[WorkerStatus]:
        return [status for status in statuses(listener.messages) if status.change]

    comparing = wait_for(
        lambda: [s.change for s in changes() if s.change and s.change.compared >= 15],
        what="the listener hears of the comparison as well",
    )
    assert {s.change.topic for s in changes() if s.worker == first.id and s.change} >= {
        f"{root}/control/{first.id}/model"
    }
    assert (comparing[-1].agreed / comparing[-1].compared > 0.9) is agrees
    if agrees:
        assert canary.returncode == 0, canary.stdout + canary.stderr
        assert "on to the whole fleet" in canary.stdout
        for worker in (first, second):
            wait_change(listener, worker, f"{root}/control/model")
    else:
        assert canary.returncode == 1
        assert "rolling back" in canary.stdout
        wait_for(lambda: latest(listener, first).change is None, what="the roll-back")
        assert all(latest(listener, worker).model == MODEL for worker in (first, second))
        assert not any(status.worker == second.id for status in changes())
    wait_for(lambda: len(answers(listener, root)) >= len(sent), 60, what="all answers")
    assert Counter(a.frame_id for a in answers(listener, root)) == Counter(sent)
    assert [Rejection.decode(m.payload) for m in listener.on(f"{root}/rejects/")] == []
