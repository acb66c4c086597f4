"""Properties, which no limit of the broker's queues counts: three million in one packet cost it 200 MB."""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path
from typing import Dict, Iterator

import pytest

from tests.end_to_end.test_provisioned import Member
from tests.fleet.provisioned import Client, GuardedBroker, provision
from tests.harness import wait_for
from tests.worker.engines.graphs import Net
from tests.worker.engines.test_onnx_served import png

#: An empty user property, and a byte of each packet besides them.
EMPTY = b"\x26\0\0\0\0"
LARGEST = 15_500_000
ATTACKS = 12
#: Megabytes: of the broker, seven such packets; of the worker, a few copies of one.
BROKERS, WORKERS = 1500, 200


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

    def publish(self, properties: bytes) -> None:
        """Publish a frame of one byte, and wait for its PUBACK."""
        head = text(f"nanofleet/frames/{self.name}") + b"\0\1"
        self.send(0x32, head + number(len(properties)) + properties + b"x")
        assert self.line.recv(4096)[:1] == b"\x40", "PUBACK"


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
def worker(broker: GuardedBroker, tmp_path: Path) -> Iterator[Member]:
    """A worker with a small model."""
    net = Net()
    path = net.give(net.add("Softmax", net.means())).save(tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    flags = ["--model", str(path), "--labels", str(tmp_path / "labels.txt")]
    started = Member(broker.home("nano-1"), *flags)
    started.wait_ready()
    yield started
    assert started.stop() == 0, started.log.read_text()
    assert not started.said("Traceback"), started.log.read_text()


def most_memory(pid: int) -> int:
    """Megabytes that a process has had, at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) >> 10


def answers(listener: Client, camera: str) -> Dict[str, int]:
    """How many Results and Rejections of a camera have come."""
    topics = listener.topics
    return {kind: topics.count(f"nanofleet/{kind}/{camera}") for kind in ("results", "rejects")}


def test_other_members_are_served_while_one_floods_with_properties(
    broker: GuardedBroker, worker: Member
) -> None:
    before = most_memory(worker.process.pid)
    with Client(broker, "home") as listener, Client(broker, "garden") as garden:
        listener.subscribe("nanofleet/results/+", "nanofleet/rejects/+")
        with Attacker(broker, "door") as attacker:
            for attack in range(ATTACKS):
                attacker.publish(EMPTY * (LARGEST // len(EMPTY)))
                garden.publish("nanofleet/frames/garden", png((attack, 0, 0)))
        wait_for(lambda: answers(listener, "garden")["results"] == ATTACKS, 60, "an answer to every frame")
        wait_for(lambda: answers(listener, "door")["rejects"] == ATTACKS, 60, "and to those of the attack")
        assert broker.process
        assert most_memory(broker.process.pid) < BROKERS
        assert most_memory(worker.process.pid) - before < WORKERS
