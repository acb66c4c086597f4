"""A worker that does not return: who takes over its frames, and what happens should it return after all."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.proxy import Proxy
from tests.harness import Listener, WorkerProcess, adopter, statuses, wait_for
from tests.metrics import metric
from wire.messages import ModelCommand, Result
from wire.model_choice import ModelChoice

ADOPTIONS = "nanofleet_adoptions_total"
QUICK = ("--status-interval", "0.5", "--adopt-after", "1")


def with_id(frame_id: str) -> Dict[str, Any]:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("frame-id", frame_id)
    return {"properties": properties}


def ids(messages: List[mqtt.MQTTMessage]) -> List[str]:
    return [Result.decode(m.payload).frame_id for m in messages]


def last_status(listener: Listener, worker: WorkerProcess) -> Any:
    return next((s for s in reversed(statuses(listener.messages)) if s.worker == worker.id), None)


def wait_taken_back(listener: Listener, root: str, dead: WorkerProcess, heir: WorkerProcess) -> None:
    """Wait until an heir's claim is no longer retained."""
    topic = f"{root}/workers/{dead.id}/adoption/{heir.id}"
    wait_for(lambda: [m.payload for m in listener.on(topic)][-1:] == [b""], what="the claim to be taken back")


@pytest.fixture
def send(photos: Path) -> Callable[[Listener, str, range], None]:
    image = (photos / "rocket.jpg").read_bytes()

    def send(listener: Listener, root: str, numbers: range) -> None:
        for n in numbers:
            listener.publish(f"{root}/frames/door", image, **with_id(f"frame-{n}"))

    return send


def test_frames_of_a_dead_worker_are_answered_by_one_of_the_others(
    broker_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    send: Callable[[Listener, str, range], None],
) -> None:
    """On the embedded broker, which deals a dead member's frames anew by itself, adoption does no harm."""
    dead, *living = [start_worker(broker_url, *QUICK, worker_id=f"w{n}", wait=False) for n in (1, 2, 3)]
    for worker in (dead, *living):
        worker.wait_ready()
    listener = listen(broker_url, f"{root}/results/+", f"{root}/workers/#")
    send(listener, root, range(30))
    dead.stop(signal.SIGKILL)
    send(listener, root, range(30, 90))
    heir = wait_for(lambda: adopter(listener.messages, dead.id), 60, "adopted")
    assert heir in {worker.id for worker in living}
    wait_for(lambda: len(set(ids(listener.on(f"{root}/results/")))) == 90, 30, "90 answers")
    before = len(listener.on(f"{root}/results/"))
    send(listener, root, range(90, 120))
    wait_for(lambda: len(listener.on(f"{root}/results/")) == before + 30, 30, "30 more, each once")
    wait_for(lambda: sum(worker.said(f"adopted {dead.id}") for worker in living) == 1, what="one adopter")
    (by,) = [worker for worker in living if worker.said(f"adopted {dead.id}")]
    assert metric(by, ADOPTIONS, outcome="adopted") == 1
    assert sum(metric(worker, ADOPTIONS, outcome="adopted") for worker in living) == 1
    wait_for(lambda: metric(by, "nanofleet_adopting") == 0, what="the end of the adoption")
    taken = re.search(rf"adopted {dead.id}: (\d+) frames", by.log.read_text())
    assert taken
    # The embedded broker may deliver one more while the session ends.
    assert metric(by, "nanofleet_adopted_frames_total") >= int(taken.group(1))


def test_a_worker_that_returns_takes_its_session_back(
    mosquitto_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    send: Callable[[Listener, str, range], None],
) -> None:
    """Its adopter is slow on purpose, so that it is still at it when the owner returns."""
    dead = start_worker(mosquitto_url, *QUICK, worker_id="w1")
    dead.stop(signal.SIGKILL)
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/#")
    send(listener, root, range(40))
    slow = ("--max-delay", "2", "--max-batch", "256", "--window", "2")
    heir = start_worker(mosquitto_url, *QUICK, *slow, worker_id="w2")
    heir.wait_said("adopting its frames")
    wait_for(lambda: metric(heir, "nanofleet_adopting") == 1, what="the adoption's beginning")
    dead.start()
    heir.wait_said("has the worker returned?")
    assert metric(heir, ADOPTIONS, outcome="cut_short") == 1
    wait_for(lambda: metric(heir, "nanofleet_adopting") == 0, what="the end of the adoption")
    wait_for(lambda: len(set(ids(listener.on(f"{root}/results/")))) == 40, 60, "40 answers")
    wait_for(lambda: last_status(listener, dead).state == "online", what="its status")
    # Only what its heir had in hand may come twice.
    twice = [i for i, n in Counter(ids(listener.on(f"{root}/results/"))).items() if n > 1]
    assert len(twice) <= 2
    wait_taken_back(listener, root, dead, heir)
    assert dead.stop() == 0
    assert heir.stop() == 0


def test_commands_that_wait_for_a_dead_worker_are_not_its_heirs(
    mosquitto_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    send: Callable[[Listener, str, range], None],
) -> None:
    """They are old: what is in force now the heir has heard itself."""
    dead = start_worker(mosquitto_url, worker_id="w1")
    dead.stop(signal.SIGKILL)
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/#")
    command = ModelCommand(id="old", choice=ModelChoice(model="resnet18")).encode()
    for topic in (f"{root}/control/{dead.id}/model", f"{root}/control/model"):
        listener.publish(topic, command)
    send(listener, root, range(3))
    heir = start_worker(mosquitto_url, *QUICK, worker_id="w2")
    heir.wait_said(f"adopted {dead.id}: 3 frames")
    assert not heir.said("ignored a frame")
    assert not heir.said("resnet18")


def test_a_worker_that_was_only_away_is_adopted_again_when_it_dies(
    mosquitto_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    send: Callable[[Listener, str, range], None],
) -> None:
    """It is the process whose session was adopted before, when its network had failed for long."""
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/#")
    with Proxy(int(mosquitto_url.rpartition(":")[2])) as line:
        away = start_worker(line.url, *QUICK, worker_id="w1")
        heir = start_worker(mosquitto_url, *QUICK, worker_id="w2")
        line.cut()
        line.hang_up()
        wait_for(lambda: adopter(listener.messages, away.id), 60, "adopted")
        line.heal()
        away.wait_said("connected again")
        wait_taken_back(listener, root, away, heir)
        away.stop(signal.SIGKILL)
        send(listener, root, range(20))
        wait_for(lambda: len(set(ids(listener.on(f"{root}/results/")))) == 20, 30, "20 answers")


def test_a_worker_that_left_in_good_order_is_not_adopted(
    mosquitto_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    send: Callable[[Listener, str, range], None],
) -> None:
    first, second = [start_worker(mosquitto_url, *QUICK, worker_id=f"w{n}") for n in (1, 2)]
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/#")
    assert first.stop() == 0
    since = len(statuses(listener.messages))
    wait_for(lambda: len(statuses(listener.messages)) > since + 10, 30, "five seconds of statuses")
    wait_for(lambda: last_status(listener, first).state == "offline", what="its last status")
    assert not second.said("adopting")


def test_adopting_a_session_that_is_gone_loses_no_frame(
    mosquitto_url: str,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    send: Callable[[Listener, str, range], None],
) -> None:
    """Frames that were dealt to a session made anew would end with it."""
    living = start_worker(mosquitto_url, *QUICK, "--window", "8")
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/#")
    own = wait_for(lambda: last_status(listener, living), what="a status")
    for n in range(8):
        dead = own.model_copy(update={"worker": f"dead-{n}", "state": "lost"})
        listener.publish(f"{root}/workers/dead-{n}", dead.encode(), retain=True)
    sent = 0

    def answered() -> int:
        return len(set(ids(listener.on(f"{root}/results/"))))

    while living.log.read_text().count("no session of dead-") < 8:
        send(listener, root, range(sent, sent + 10))
        sent += 10
        wait_for(lambda due=sent - 40: answered() >= due, 30, "all but the last forty")  # type: ignore[misc]
    wait_for(lambda: answered() == sent, 60, f"{sent} answers")
    assert not any(adopter(listener.messages, f"dead-{n}") for n in range(8))
    assert living.stop() == 0
