"""Properties, which no limit of the broker's queues counts: two million in one packet cost it 300 MB."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Dict, Iterator

import pytest

from tests.fleet.in_folder import Member
from tests.fleet.provisioned import Client, GuardedBroker, provision
from tests.harness import wait_for
from tests.worker.engines.test_onnx_served import png

#: The user property that costs the broker most for its length, 128 bytes for 7; a packet full of them.
DENSEST = b"\x26\0\1a\0\1b"
ATTACK = DENSEST * (16_700_000 // len(DENSEST))
ATTACKS = 3
#: Megabytes: what an attack may take of the broker, by deploy/mosquitto/README.md, and on its way in and out;
#: and of the worker, a few copies of one.
PACKET, ON_THE_WAY, WORKERS = 300, 100, 200


def number(value: int) -> bytes:
    """MQTT's Variable Byte Integer."""
    written = bytearray()
    while value > 127:
        written.append(value % 128 | 128)
        value //= 128
    return bytes([*written, value])


def text(value: str) -> bytes:
    return struct.pack("!H", len(value)) + value.encode()


class Attacker:
    """A camera that was stolen, and that knows MQTT by itself: a client would not get so far."""

    def __init__(self, broker: GuardedBroker, name: str) -> None:
        home = broker.fleet / "members" / name
        tls = ssl.create_default_context(cafile=str(home / "ca.crt"))
        tls.load_cert_chain(str(home / "client.crt"), str(home / "client.key"))
        self.name = name
        self.line = tls.wrap_socket(
            socket.create_connection(("127.0.0.1", broker.port), 30), server_hostname="localhost"
        )
        login = text(name) + text((home / "password").read_text().strip())
        self.send(0x10, text("MQTT") + b"\x05\xc2" + struct.pack("!H", 600) + b"\0" + text("") + login)
        assert self.line.recv(4096)[3] == 0, "CONNACK"

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.line.close()

    def send(self, kind: int, body: bytes) -> None:
        self.line.sendall(bytes([kind]) + number(len(body)) + body)

    def publish(self, properties: bytes, qos: int = 1) -> int:
        """Publish a frame of one byte; returns the type of the packet that comes back, 0 if none does."""
        head = text(f"nanofleet/frames/{self.name}") + b"\0\1"
        with contextlib.suppress(OSError):
            self.send(0x30 | qos << 1, head + number(len(properties)) + properties + b"x")
            return (self.line.recv(4096) or b"\0")[0]
        return 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[GuardedBroker]:
    """A broker as `nanofleet provision` leaves it."""
    members = ("--camera", "door,garden", "--worker", "nano-1", "--listener", "home")
    provision(tmp_path / "fleet", *members)
    started = GuardedBroker(tmp_path, tmp_path / "fleet")
    started.start()
    yield started
    started.stop()


@pytest.fixture
def worker(broker: GuardedBroker) -> Iterator[Member]:
    """A worker with a tiny model."""
    started = Member(broker.home("nano-1"))
    started.wait_ready()
    yield started
    assert started.stop() == 0, started.log.read_text()
    assert not started.said("Traceback"), started.log.read_text()


def most_memory(pid: int) -> int:
    """Megabytes that a process has had, at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) >> 10


def most_of_broker(broker: GuardedBroker) -> int:
    assert broker.process
    return most_memory(broker.process.pid)


@contextlib.contextmanager
def killed_above(megabytes: int, broker: GuardedBroker) -> Iterator[threading.Event]:
    """Kill the broker as the kernel does for MemoryMax, which takes a systemd; yields whether it was."""
    over, killed = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if most_of_broker(broker) > megabytes:
                assert broker.process
                broker.process.kill()
                killed.set()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        over.set()
        watcher.join()


def answers(listener: Client, camera: str) -> Dict[str, int]:
    """How many Results and Rejections of a camera have come."""
    topics = listener.topics
    return {kind: topics.count(f"nanofleet/{kind}/{camera}") for kind in ("results", "rejects")}


PUBACK, PUBREC = 0x40, 0x50


def test_other_members_are_served_while_one_floods_with_properties(
    broker: GuardedBroker, worker: Member
) -> None:
    before = most_memory(worker.process.pid)
    with Client(broker, "home") as listener, Client(broker, "garden") as garden:
        listener.subscribe("nanofleet/results/+", "nanofleet/rejects/+")
        with Attacker(broker, "door") as attacker:
            for attack in range(ATTACKS):
                assert attacker.publish(ATTACK) == PUBACK
                garden.publish("nanofleet/frames/garden", png((attack, 0, 0)))
        wait_for(lambda: answers(listener, "garden")["results"] == ATTACKS, 60, "an answer to every frame")
        wait_for(lambda: answers(listener, "door")["rejects"] == ATTACKS, 60, "and to those of the attack")
        assert most_of_broker(broker) < ATTACKS * PACKET + ON_THE_WAY, "deploy/mosquitto/README.md adds it up"
        assert most_memory(worker.process.pid) - before < WORKERS


def test_a_camera_keeps_nothing_at_the_broker_at_qos_2(broker: GuardedBroker) -> None:
    """Until a PUBREL that never comes, for 64 packets, although workers were there to take them."""
    with Attacker(broker, "door") as attacker:
        assert attacker.publish(ATTACK, qos=2) != PUBREC
    assert most_of_broker(broker) < 100


def test_what_waits_outlives_a_broker_that_is_killed_for_its_memory(
    broker: GuardedBroker, worker: Member
) -> None:
    """And what fills the memory does not fill it again, because workers take it and reject it."""
    worker.stop(signal.SIGKILL)
    # For the same in less time: a service's limit is that of seven attacks.
    attack, limit = DENSEST * 600_000, 130
    with Client(broker, "garden") as garden, Attacker(broker, "door") as attacker:
        for red in range(5):
            garden.publish("nanofleet/frames/garden", png((red, 0, 0)))
        assert attacker.publish(attack) == PUBACK
        database = broker.config.parent / "mosquitto.db"
        wait_for(lambda: database.exists() and database.stat().st_size > len(attack), what="the autosave")
        with killed_above(limit, broker) as killed:
            assert attacker.publish(attack) != PUBACK
            assert killed.wait(60)
    broker.stop(signal.SIGKILL)
    broker.start()
    with Client(broker, "home") as listener:
        listener.subscribe("nanofleet/results/+", "nanofleet/rejects/+")
        worker.start()
        wait_for(lambda: answers(listener, "garden")["results"] == 5, 60, "an answer to every frame")
        wait_for(lambda: answers(listener, "door")["rejects"] == 1, 60, "and to what was saved of the attack")
    assert most_of_broker(broker) < limit
