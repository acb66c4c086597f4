"""A worker that does not return: who takes over its frames, and what happens should it return after all."""

from __future__ import annotations

import re
import signal
from collections import Counter
from typing import Any, List

import paho.mqtt.client as mqtt

from tests.faults.proxy import Proxy
from tests.fleets import Fleet, on_both_brokers
from tests.harness import Listener, WorkerProcess, adopter, statuses, wait_for
from tests.metrics import metric
from tests.worker.engines.test_onnx_served import png
from wire.messages import ModelCommand, Result
from wire.model_choice import ModelChoice

ADOPTIONS = "nanofleet_adoptions_total"
QUICK = ("--status-interval", "0.5", "--adopt-after", "1")


def ids(messages: List[mqtt.MQTTMessage]) -> List[str]:
    return [Result.decode(m.payload).frame_id for m in messages]


def last_status(listener: Listener, worker: WorkerProcess) -> Any:
    return next((s for s in reversed(statuses(listener.messages)) if s.worker == worker.id), None)


def wait_taken_back(fleet: Fleet, listener: Listener, dead: WorkerProcess, heir: WorkerProcess) -> None:
    """Wait until an heir's claim is no longer retained."""
    topic = f"{fleet.root}/workers/{dead.id}/adoption/{heir.id}"
    wait_for(lambda: [m.payload for m in listener.on(topic)][-1:] == [b""], what="the claim to be taken back")


def send(fleet: Fleet, numbers: range) -> None:
    for number in numbers:
        fleet.send("door", png((9, 9, 9)), f"frame-{number}")


@on_both_brokers
def test_frames_of_a_dead_worker_are_answered_by_one_of_the_others(
    fleet: Fleet,
) -> None:
    """On the embedded broker, which deals a dead member's frames anew by itself, adoption does no harm."""
    dead, *living = [fleet.worker(*QUICK, id=f"w{n}", wait=False) for n in (1, 2, 3)]
    for worker in (dead, *living):
        worker.wait_ready()
    listener = fleet.listen("results/+", "workers/#")
    send(fleet, range(30))
    dead.stop(signal.SIGKILL)
    send(fleet, range(30, 90))
    heir = wait_for(lambda: adopter(listener.messages, dead.id), 60, "adopted")
    assert heir in {worker.id for worker in living}
    wait_for(lambda: len(set(ids(listener.on(f"{fleet.root}/results/")))) == 90, what="90 answers")
    before = len(listener.on(f"{fleet.root}/results/"))
    send(fleet, range(90, 120))
    wait_for(lambda: len(listener.on(f"{fleet.root}/results/")) == before + 30, what="30 more, each once")
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
    fleet: Fleet,
) -> None:
    """Its adopter is slow on purpose, so that it is still at it when the owner returns."""
    dead = fleet.worker(*QUICK, id="w1")
    dead.stop(signal.SIGKILL)
    listener = fleet.listen("results/+", "workers/#")
    send(fleet, range(40))
    slow = ("--max-delay", "2", "--max-batch", "256", "--window", "2")
    heir = fleet.worker(*QUICK, *slow, id="w2")
    heir.wait_said("adopting its frames")
    wait_for(lambda: metric(heir, "nanofleet_adopting") == 1, what="the adoption's beginning")
    dead.start()
    heir.wait_said("has the worker returned?")
    assert metric(heir, ADOPTIONS, outcome="cut_short") == 1
    wait_for(lambda: metric(heir, "nanofleet_adopting") == 0, what="the end of the adoption")
    wait_for(lambda: len(set(ids(listener.on(f"{fleet.root}/results/")))) == 40, 60, "40 answers")
    wait_for(lambda: last_status(listener, dead).state == "online", what="its status")
    # Only what its heir had in hand may come twice.
    twice = [i for i, n in Counter(ids(listener.on(f"{fleet.root}/results/"))).items() if n > 1]
    assert len(twice) <= 2
    wait_taken_back(fleet, listener, dead, heir)
    assert dead.stop() == 0
    assert heir.stop() == 0


def test_commands_that_wait_for_a_dead_worker_are_not_its_heirs(
    fleet: Fleet,
) -> None:
    """They are old: what is in force now the heir has heard itself."""
    dead = fleet.worker(id="w1")
    dead.stop(signal.SIGKILL)
    listener = fleet.listen("results/+", "workers/#")
    command = ModelCommand(id="old", choice=ModelChoice(model="resnet18")).encode()
    for topic in (f"{fleet.root}/control/{dead.id}/model", f"{fleet.root}/control/model"):
        listener.publish(topic, command)
    send(fleet, range(3))
    heir = fleet.worker(*QUICK, id="w2")
    heir.wait_said(f"adopted {dead.id}: 3 frames")
    assert not heir.said("ignored a frame")
    assert not heir.said("resnet18")


def test_a_worker_that_was_only_away_is_adopted_again_when_it_dies(
    fleet: Fleet,
) -> None:
    """It is the process whose session was adopted before, when its network had failed for long."""
    listener = fleet.listen("results/+", "workers/#")
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        away = fleet.at(line.url).worker(*QUICK, id="w1")
        heir = fleet.worker(*QUICK, id="w2")
        line.cut()
        line.hang_up()
        wait_for(lambda: adopter(listener.messages, away.id), 60, "adopted")
        line.heal()
        away.wait_said("connected again")
        wait_taken_back(fleet, listener, away, heir)
        away.stop(signal.SIGKILL)
        send(fleet, range(20))
        wait_for(lambda: len(set(ids(listener.on(f"{fleet.root}/results/")))) == 20, what="20 answers")


def test_a_worker_that_left_in_good_order_is_not_adopted(
    fleet: Fleet,
) -> None:
    first, second = [fleet.worker(*QUICK, id=f"w{n}") for n in (1, 2)]
    listener = fleet.listen("results/+", "workers/#")
    assert first.stop() == 0
    since = len(statuses(listener.messages))
    wait_for(lambda: len(statuses(listener.messages)) > since + 10, what="five seconds of statuses")
    wait_for(lambda: last_status(listener, first).state == "offline", what="its last status")
    assert not second.said("adopting")


def test_adopting_a_session_that_is_gone_loses_no_frame(
    fleet: Fleet,
) -> None:
    """Frames that were dealt to a session made anew would end with it."""
    living = fleet.worker(*QUICK, "--window", "8")
    listener = fleet.listen("results/+", "workers/#")
    own = wait_for(lambda: last_status(listener, living), what="a status")
    for n in range(8):
        dead = own.model_copy(update={"worker": f"dead-{n}", "state": "lost"})
        listener.publish(f"{fleet.root}/workers/dead-{n}", dead.encode(), retain=True)
    sent = 0

    def answered() -> int:
        return len(set(ids(listener.on(f"{fleet.root}/results/"))))

    while living.log.read_text().count("no session of dead-") < 8:
        send(fleet, range(sent, sent + 10))
        sent += 10
        wait_for(lambda due=sent - 40: answered() >= due, what="all but the last forty")  # type: ignore[misc]
    wait_for(lambda: answered() == sent, 60, f"{sent} answers")
    assert not any(adopter(listener.messages, f"dead-{n}") for n in range(8))
    assert living.stop() == 0
