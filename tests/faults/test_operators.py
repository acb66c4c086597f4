"""What operators do to a fleet at work: bridge sites, rotate credentials, command a model that nobody has.

The broker comes before the case in each test's arguments: so it is still there when the workers leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List, Tuple

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.case import SLOW, Case
from tests.faults.killing import kill_at_work
from tests.fleet.provisioned import GuardedBroker, provision
from tests.harness import Mosquitto, nanofleet, statuses, wait_for
from tests.metrics import metric
from tests.ports import free_port
from tests.worker.engines.graphs import Net
from wire.messages import ModelCommand

FRAMES = 300
#: What two sites share: who is there, what they run, and what they see.
BRIDGED = ("workers/#", "control/#", "results/#", "rejects/#")


def test_a_worker_of_two_bridged_sites_is_killed(
    mosquitto: Callable[..., Mosquitto],
    case: Callable[..., Case],
    root: str,
    times: int,
) -> None:
    """The statuses of both sites stand on both brokers; the session of a dead worker only on its own."""
    queue = ("allow_anonymous true", "max_queued_messages 10000")
    here = mosquitto(*queue)
    topics = [f"topic {root}/{topic} both 1" for topic in BRIDGED]
    there = mosquitto(*queue, "connection sites", f"address 127.0.0.1:{here.port}", *topics)
    fleet = case("two bridged sites, a worker of one killed", here.url)
    # They step aside for each other where frames wait, but for nobody of the other site.
    victim, heir = fleet.start(2)
    # Whoever ranks first, the other site's workers are asked before the one that shares the broker.
    others = fleet.start(3, url=there.url)
    members = {worker.id for worker in fleet.workers}
    for url in (here.url, there.url):
        camera = fleet.listen("workers/+", url=url)
        wait_for(lambda c=camera: {s.worker for s in statuses(c.messages)} >= members, 30, "the bridge")
    fleet.send(FRAMES * times // 2)
    fleet.strike()
    kill_at_work(victim, lambda: fleet.send(4))
    for number in range(100):
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = ("frame-id", f"there-{number}")
        camera.publish(f"{root}/frames/there", fleet.images[0], properties=properties)
    fleet.send(FRAMES * times // 2)
    fleet.wait_all()
    heir.wait_said(f"adopted {victim.id}")
    assert not any(worker.said(f"adopted {victim.id}") for worker in others)
    wait_for(lambda: len(fleet.heard) == len(fleet.sent) + 100, 30, "the other site's answers, by the bridge")
    by_here = {
        heard.answer.frame_id for heard in fleet.answers if heard.answer.worker in (victim.id, heir.id)
    }
    assert by_here == fleet.sent


class Guarded(GuardedBroker):
    """With a listener without TLS besides, for an observer that is no part of the rotation."""

    def __init__(self, folder: Path, fleet: Path) -> None:
        super().__init__(folder, fleet)
        self.clear_port = free_port()
        # First, so that it is open once the others are.
        self.config.write_text(f"listener {self.clear_port} 127.0.0.1\n{self.config.read_text()}")

    def in_the_clear(self, name: str) -> str:
        """How a member gets in there."""
        password = (self.fleet / "members" / name / "password").read_text().strip()
        return f"mqtt://{name}:{password}@127.0.0.1:{self.clear_port}"

    def entrance(self, name: str) -> List[str]:
        """The flags by which a member gets in otherwise, with the files in its folder."""
        home = self.fleet / "members" / name
        port = self.port if name == "door" else self.inner_port
        flags = ["--broker", f"mqtts://{name}@localhost:{port}", "--password-file", str(home / "password")]
        for flag, file in (("ca", "ca.crt"), ("cert", "client.crt"), ("key", "client.key")):
            flags += [f"--{flag}-file", str(home / file)]
        return flags


@pytest.fixture
def guarded(tmp_path: Path, root: str) -> Iterator[Guarded]:
    """A broker as `nanofleet provision` leaves it."""
    workers = f"{root}-w1,{root}-w2"
    members = ("--camera", "door", "--worker", workers, "--listener", "observer")
    provision(tmp_path / "fleet", "--root", root, *members)
    broker = Guarded(tmp_path, tmp_path / "fleet")
    broker.start()
    yield broker
    broker.stop()


def rotate(fleet: Path) -> None:
    """New passwords, certificates and CAs for the broker and for all that come with TLS."""
    for pattern in ("ca/*", "broker/server.*", "members/*/client.*", "members/[!o]*/password"):
        for file in fleet.glob(pattern):
            file.unlink()
    provision(fleet)


def test_whatever_lets_members_in_is_rotated(guarded: Guarded, case: Callable[..., Case], times: int) -> None:
    """Passwords, certificates and CAs are replaced while frames flow, and then the broker is restarted."""
    fleet = case("passwords, certificates and CAs rotated", guarded.in_the_clear("observer"))
    for number in (1, 2):
        fleet.start(1, *SLOW, *guarded.entrance(f"{fleet.root}-w{number}"))
    processes = [worker.process for worker in fleet.workers]
    count = FRAMES * times
    with fleet.publisher(count, "--fps", "50", "--camera", "door", *guarded.entrance("door")) as publisher:
        fleet.wait_answers(FRAMES // 3)
        rotate(guarded.fleet)
        assert fleet.unanswered
        fleet.strike()
        guarded.stop()
        guarded.start()
        fleet.finish(publisher)
    assert f"answered {count}, rejected 0, missing 0" in fleet.said()
    for worker, process in zip(fleet.workers, processes):
        assert (worker.process, process.poll()) == (process, None)
        worker.wait_said("connected again")


def test_a_worker_is_killed_under_commands_that_failed(
    case: Callable[..., Case], mosquitto_url: str, root: str, times: int
) -> None:
    """It serves the last model that it could, from the first frame on; what it cannot follow stands."""
    fleet = case("killed under a command that it cannot follow", mosquitto_url)
    weights = fleet.folder / "weights"
    weights.mkdir()
    (weights / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    for name in ("own.onnx", "good.onnx"):
        net = Net()
        net.give(net.add("Softmax", net.means(), axis=1)).save(weights / name)
    own = ("--model", str(weights / "own.onnx"), "--labels", str(weights / "labels.txt"))
    (worker,) = fleet.start(1, *own, "--weights-dir", str(weights))

    def use(*model: str) -> Tuple[int, str]:
        run = nanofleet("models", "use", *model, "--broker", mosquitto_url, "--root", root)
        return run.returncode, run.stdout

    code, said = use("good.onnx", "--labels", "labels.txt")
    assert code == 0, said
    code, said = use("godo.onnx")
    assert code == 1
    assert "No worker can run it: the command before stands again, good.onnx." in said
    # Somebody else's command, by hand: nobody takes that back, and what was served last is served on.
    operator = fleet.listen("workers/+")
    missing = ModelCommand(id="worst", choice={"model": "missing.onnx"})
    operator.publish(f"{root}/control/model", missing.encode(), retain=True)
    wait_for(lambda: worker.said("missing.onnx: No such file"), 60, "the failure")
    fleet.send(FRAMES * times)
    fleet.strike()
    kill_at_work(worker, lambda: fleet.send(4))
    fleet.send(FRAMES * times)
    before = len(worker.log.read_text())
    worker.start()
    fleet.wait_all()
    assert {heard.answer.weights for heard in fleet.answers} == {"good.onnx"}
    assert worker.log.read_text()[before:].count(" classes, by ") == 1, "one model is loaded"
    assert metric(worker, "nanofleet_model_mismatch") == 1
