"""What a thief with a worker's folder can do to the others: nano-1's, while nano-2 and nano-3 serve.

One broker and one set of workers for all attacks. After each, every frame is answered by those that are left.
What a worker can do by its nature stands in docs/security.md and is not tried: to take another's session over
by its client id, and to answer wrongly.
"""

from __future__ import annotations

import itertools
import re
import signal
import time
from typing import Any, Callable, Dict, Iterator, List

import pytest

from tests.fleet.in_folder import Member, answered, command
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker, provision
from tests.harness import adopter, user_properties, wait_for
from tests.worker.engines.test_onnx_served import png
from tests.worker.fleet import claim, status
from wire.messages import Beacon, ModelCommand, WorkerStatus
from wire.topics import client_id
from worker.membership.peers import MAX_PEERS

MEMBERS = ("--camera", "door", "--worker", "nano-1,nano-2,nano-3", "--operator", "admin")
QUICK = ("--status-interval", "0.5", "--adopt-after", "1")
WORKERS = "nanofleet/workers"


class Besieged:
    """The members that were not stolen, and one who sends frames and hears everything."""

    def __init__(self, broker: GuardedBroker, workers: Dict[str, Member], admin: Client) -> None:
        self.broker = broker
        self.workers = workers
        self.admin = admin
        self._numbers = itertools.count()

    def thief(self, **options: Any) -> Client:
        """A connection with nano-1's certificate and password."""
        return Client(self.broker, "nano-1", **options)

    def send(self, count: int = 1) -> List[str]:
        """Send frames, and return their ids."""
        ids = [f"frame-{next(self._numbers)}" for _ in range(count)]
        for frame_id in ids:
            assert (
                self.admin.publish(
                    "nanofleet/frames/door", png((9, 9, 9)), **user_properties(("frame-id", frame_id))
                )
                == 0
            )
        return ids

    def wait_answered(self, ids: List[str]) -> None:
        """Wait until all have Results."""
        wait_for(lambda: answered(self.admin) >= set(ids), 60, "an answer to every frame")

    def goes_on(self) -> None:
        """Nobody has left or stepped aside: of frames in turn each worker answers some."""
        before = len(self.admin.messages)
        self.wait_answered(self.send(8))
        results = [m.payload for m in self.admin.messages[before:] if "/results/" in m.topic]
        for name, worker in self.workers.items():
            assert any(b'"%s"' % name.encode() in result for result in results), name
            assert worker.process.poll() is None, worker.log.read_text()
            assert not worker.said("Traceback"), worker.log.read_text()

    def last_status(self, name: str) -> WorkerStatus:
        """What a worker has said last; waits for its first, which comes after a subscription is granted."""

        def heard() -> List[bytes]:
            return [
                m.payload for m in list(self.admin.messages) if m.topic == f"{WORKERS}/{name}" and m.payload
            ]

        return WorkerStatus.decode(wait_for(heard, what=f"a status of {name}'s")[-1])

    def restart(self, name: str) -> None:
        """Start a worker that has been ended, and wait until it serves."""
        lives = self.workers[name].log.read_text().count("connected to")
        self.workers[name].start()
        wait_for(lambda: self.workers[name].log.read_text().count("connected to") > lives, 60, "a new life")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    folder = tmp_path_factory.mktemp("stolen")
    provision(folder / "fleet", *MEMBERS)
    broker = GuardedBroker(folder, folder / "fleet")
    broker.start()
    workers: Dict[str, Member] = {}
    try:
        for name in ("nano-2", "nano-3"):
            workers[name] = Member(broker.home(name), *QUICK)
        for worker in workers.values():
            worker.wait_ready()
        with Client(broker, "admin") as admin:
            admin.subscribe("nanofleet/results/+", "nanofleet/rejects/+", f"{WORKERS}/#")
            yield Besieged(broker, workers, admin)
        ends = {worker.id: worker.stop() for worker in workers.values()}
        assert set(ends.values()) == {0}, ends
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.wait()
        broker.stop()


def test_it_speaks_for_nobody_else(fleet: Besieged) -> None:
    theirs = fleet.last_status("nano-2")
    stranger = status("nano-2", instance="a stranger's", group=theirs.group)
    lost = status("nano-2", "lost", instance=theirs.instance, group=theirs.group)
    command = ModelCommand(choice={"model": "other.onnx"}).encode()  # type: ignore[arg-type]
    attempts = [
        *((f"{WORKERS}/nano-2", payload) for payload in (lost.encode(), stranger.encode(), b"")),
        (f"{WORKERS}/nano-2/adoption/nano-3", claim("nano-2", "nano-3", instance=theirs.instance).encode()),
        ("nanofleet/beacons/nano-2", Beacon(worker="nano-2", instance="a stranger's").encode()),
        ("nanofleet/beacons/nano-2", b""),
        *((f"nanofleet/control/{topic}", command) for topic in ("model", "nano-1/model", "nano-2/model")),
        *((f"nanofleet/{topic}", png((1, 1, 1))) for topic in ("frames/door", "frames/nano-1")),
        *((f"nanofleet/{topic}", b"{}") for topic in ("settings/cameras/door", "control/nano-2/action")),
        *((f"nanofleet/{topic}", b"{}") for topic in ("observers/nano-2", "control/announce")),
        *((f"homeassistant/{topic}", b"{}") for topic in ("device/other/camera-door/config", "status")),
    ]
    with fleet.thief() as thief:
        codes = [thief.publish(topic, payload, retain=True) for topic, payload in attempts]
        # On its own topics it may say what it likes of others: nobody listens.
        for topic in (f"{WORKERS}/nano-1", f"{WORKERS}/nano-3/adoption/nano-1", "nanofleet/beacons/nano-1"):
            for payload in (lost.encode(), stranger.encode(), claim("nano-2", "nano-1", "ended").encode()):
                assert thief.publish(topic, payload, retain=True) == 0
    assert codes == [REFUSED] * len(attempts)
    fleet.goes_on()
    assert fleet.last_status("nano-2").instance == theirs.instance


def test_a_claim_on_a_living_worker_does_not_keep_others_from_adopting_it(fleet: Besieged) -> None:
    theirs = fleet.last_status("nano-2")
    with fleet.thief() as thief:
        made_up = claim("nano-2", "nano-1", "ended", instance=theirs.instance)
        assert thief.publish(f"{WORKERS}/nano-2/adoption/nano-1", made_up.encode(), retain=True) == 0
    heard = len(fleet.admin.messages)
    wait_for(lambda: f"{WORKERS}/nano-2" in fleet.admin.topics[heard:], what="a status of nano-2's after it")
    fleet.goes_on()
    fleet.workers["nano-2"].stop(signal.SIGKILL)
    ids = fleet.send(8)
    wait_for(lambda: adopter(fleet.admin.messages[heard:], "nano-2") == "nano-3", what="the adoption")
    fleet.wait_answered(ids)
    fleet.restart("nano-2")
    fleet.goes_on()


#: What the text in a status may do to those who read it: a terminal's commands, a log's lines, rich's markup.
WORST = "\x1b]0;stolen\x07\x1b[2J\r\n[/b][link=x]\u202e\0"


def test_what_it_says_of_itself_floods_nobody(fleet: Besieged) -> None:
    group = fleet.last_status("nano-2").group
    usual = status("nano-1", group=group)
    hostile = [
        b"[" * 60_000,
        b'{"worker":' * 6_000,
        b"\xff\xfe\x00" * 9,
        b"9" * (1 << 20),
        usual.encode()[:-1] + b',"extra":"' + b"x" * (1 << 20) + b'"}',
        status("nano-1", group=WORST[:20], engine_why=WORST, metrics=WORST).encode(),
        usual.model_copy(update={"assumed": ("x" * 1024,) * 32, "inputs": ("y" * 512,) * 60}).encode(),
        status("nano-1", group=group, lease_seconds=1e300, wait_seconds=1e300, in_hand=2**63).encode(),
        status("nano-1", group=group, instance=WORST, model=WORST).encode(),
    ]
    before = {name: len(worker.log.read_text()) for name, worker in fleet.workers.items()}
    with fleet.thief() as thief:
        for payload, _ in itertools.product(hostile, range(20)):
            thief.client.publish(f"{WORKERS}/nano-1", payload, qos=0, retain=True)
            thief.client.publish("nanofleet/beacons/nano-1", payload, qos=0, retain=True)
        for number in range(MAX_PEERS + 100):
            made_up = claim(f"dead-{number}", "nano-1", "ended", instance=WORST).encode()
            thief.client.publish(f"{WORKERS}/dead-{number}/adoption/nano-1", made_up, qos=0, retain=True)
        thief.client.publish(f"{WORKERS}/nano-2/adoption/nano-1", b"{" * 60_000, qos=0, retain=True)
        assert thief.publish(f"{WORKERS}/nano-1", hostile[-1], retain=True) == 0
        fleet.goes_on()
    listed = command(fleet.broker.home("admin"), "workers")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.replace("\n", "").isprintable()
    for name, worker in fleet.workers.items():
        said = worker.log.read_text()[before[name] :]
        assert said.replace("\n", "").isprintable()
        assert said.count("\n") < 100
    assert fleet.workers["nano-3"].stop() == 0
    fleet.restart("nano-3")
    fleet.goes_on()


def leaves_a_session(fleet: Besieged, prepare: Callable[[Client], None]) -> None:
    """Have the thief leave a session as nano-1, and say that nano-1 is lost."""
    with fleet.thief(client_id=client_id("nano-1"), expiry=600) as thief:
        prepare(thief)
    instance = f"stolen {time.monotonic()}"
    lost = status("nano-1", "lost", instance=instance, group=fleet.last_status("nano-2").group)
    with fleet.thief() as thief:
        assert thief.publish(f"{WORKERS}/nano-1", lost.encode(), retain=True) == 0


def adoptions(fleet: Besieged) -> int:
    """How many sessions of nano-1 have been drained."""
    return sum(len(re.findall("adopted nano-1: ", w.log.read_text())) for w in fleet.workers.values())


def test_a_session_that_gets_every_frame_is_ended_all_the_same(fleet: Besieged) -> None:
    """Its subscription is none of those that an adopter leaves, so that it never runs dry."""
    before = adoptions(fleet)
    leaves_a_session(fleet, lambda thief: thief.subscribe("nanofleet/frames/#"))
    ids: List[str] = []

    def ended() -> bool:
        ids.extend(fleet.send())
        return adoptions(fleet) > before

    wait_for(ended, what="the end of the adoption")
    fleet.wait_answered(ids)
    fleet.goes_on()


def test_a_command_in_a_session_is_not_followed_by_its_adopter(fleet: Besieged) -> None:
    """It may have been taken back since."""
    before = adoptions(fleet)
    topic = "nanofleet/control/model"
    withdrawn = ModelCommand(choice={"model": "withdrawn.onnx"}).encode()  # type: ignore[arg-type]

    def keeps_a_command(thief: Client) -> None:
        thief.client.manual_ack_set(True)
        thief.subscribe(topic)
        assert fleet.admin.publish(topic, withdrawn) == 0
        wait_for(lambda: thief.messages, what="the command, which the thief does not ack")
        thief.client.unsubscribe(topic)
        thief.publish("nanofleet/beacons/nano-1", b"")  # once this is acked, so is the UNSUBSCRIBE before it
        assert fleet.admin.publish(topic, b"") == 0

    said = [worker.log.read_text().count("run withdrawn.onnx") for worker in fleet.workers.values()]
    leaves_a_session(fleet, keeps_a_command)
    wait_for(lambda: adoptions(fleet) > before, 60, "the adoption")
    fleet.goes_on()
    after = [worker.log.read_text().count("run withdrawn.onnx") for worker in fleet.workers.values()]
    # Once, when it was given.
    assert after == [count + 1 for count in said]


def test_what_it_has_left_is_forgotten(fleet: Besieged) -> None:
    """Once its certificate is of no use any more: what is retained would stay."""
    with fleet.thief() as thief:
        assert thief.publish(f"{WORKERS}/made-up/adoption/nano-1", b"{" * 9, retain=True) == 0
        stolen = claim("nano-2", "nano-1", instance=WORST).encode()
        assert thief.publish(f"{WORKERS}/nano-2/adoption/nano-1", stolen, retain=True) == 0
        assert thief.publish(f"{WORKERS}/nano-1", status("nano-1", "lost").encode(), retain=True) == 0
    forgotten = command(fleet.broker.home("admin"), "workers", "forget", "nano-1")
    assert forgotten.returncode == 0, forgotten.stdout + forgotten.stderr
    with Client(fleet.broker, "admin") as fresh:
        fresh.subscribe(f"{WORKERS}/#")
        wait_for(
            lambda: f"{WORKERS}/nano-2" in fresh.topics and f"{WORKERS}/nano-3" in fresh.topics, what="all"
        )
        assert [topic for topic in fresh.topics if "nano-1" in topic] == []
    fleet.goes_on()
