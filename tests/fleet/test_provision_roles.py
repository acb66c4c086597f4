"""Who may do what on a real Mosquitto with the files of `nanofleet provision`, and what is denied.

`witness` has all rights (by extra.acl): it sees what others get through, and sends what others may read.
Mosquitto grants a subscription to anything and then filters what it delivers, so what may be read is shown
by what arrives. The last message of a test is one that must arrive: what did not come before it never will.
"""

from __future__ import annotations

import gc
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Optional, Set

import paho.mqtt.client as mqtt
import pytest

from tests.fleet.provisioned import REFUSED, Client, GuardedBroker, provision
from tests.harness import wait_for

#: paho drops the socket of a handshake that failed, and leaves it to the garbage collector to close it.
PAHO_DROPS_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

TOPICS = {
    f"nanofleet/{topic}"
    for topic in (
        *("frames/door", "frames/garden", "results/door", "results/garden", "rejects/door", "rejects/garden"),
        *("replies/door/1", "replies/garden/1", "workers/nano-1", "workers/nano-2"),
        *("workers/nano-2/adoption/nano-1", "workers/nano-1/adoption/nano-2"),
        *("control/model", "control/nano-1/model", "control/nano-2/model"),
        *("frames", "frames/door/deep", "results", "else"),
    )
} | {"else", "other/frames/door", "homeassistant/device/door/config"}

MEMBERS = (
    *("--camera", "door,garden", "--worker", "nano-1,nano-2"),
    *("--listener", "home", "--operator", "admin,witness"),
)


def below(*topics: str) -> Set[str]:
    return {f"nanofleet/{topic}" for topic in topics}


ANSWERS = below("results/door", "results/garden", "rejects/door", "rejects/garden")
FRAMES = below("frames/door", "frames/garden")
REPLIES = below("replies/door/1", "replies/garden/1")
STATUSES = below("workers/nano-1", "workers/nano-2")
CLAIMS = below("workers/nano-2/adoption/nano-1", "workers/nano-1/adoption/nano-2")
COMMANDS = below("control/model", "control/nano-1/model", "control/nano-2/model")

WRITES = {
    "door": below("frames/door"),
    "nano-1": ANSWERS | REPLIES | below("workers/nano-1", "workers/nano-2/adoption/nano-1"),
    "home": set(),
    "admin": FRAMES | COMMANDS | STATUSES | CLAIMS,
}
READS = {
    "door": below("results/door", "rejects/door", "replies/door/1"),
    "nano-1": FRAMES | STATUSES | CLAIMS | below("control/model", "control/nano-1/model"),
    "home": ANSWERS | STATUSES | CLAIMS,
    "admin": ANSWERS | STATUSES | CLAIMS | REPLIES | COMMANDS,
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A broker for all tests here; beside its fleet's folder is `strangers`, another fleet's."""
    folder = tmp_path_factory.mktemp("guarded")
    fleet = folder / "fleet"
    fleet.mkdir()
    (fleet / "extra.acl").write_text("user witness\ntopic readwrite #\ntopic read $SYS/#\n")
    provision(fleet, *MEMBERS)
    provision(folder / "strangers", "--camera", "door", "--worker", "nano-1")
    started = GuardedBroker(folder, fleet)
    yield started.start()  # type: ignore[misc]
    started.stop()


@pytest.fixture(autouse=True)
def _own_garbage() -> Iterator[None]:
    """A socket that a test left open is that test's fault, not that of the next one."""
    yield
    gc.collect()


@pytest.fixture
def witness(broker: GuardedBroker) -> Iterator[Client]:
    """One that reads and writes everything."""
    with Client(broker, "witness") as client:
        assert client.connack == 0, client.fault
        yield client


def hears(listener: Client, sender: Client, topic: str) -> None:
    """Wait until a last message on a topic has come from one who may write it to one who may read it."""
    last = f"the last {time.monotonic()}".encode()
    sender.publish(topic, last)
    wait_for(
        lambda: last in [message.payload for message in list(listener.messages)], what="the last message"
    )


@pytest.mark.parametrize("name", WRITES)
def test_what_each_may_write(broker: GuardedBroker, witness: Client, name: str) -> None:
    witness.subscribe("#")
    with Client(broker, name) as client:
        assert client.connack == 0, client.fault
        codes = {topic: client.publish(topic) for topic in sorted(TOPICS)}
    hears(witness, witness, "else")
    assert {topic for topic, code in codes.items() if code == REFUSED} == TOPICS - WRITES[name]
    assert set(witness.topics) - {"else"} == WRITES[name]


@pytest.mark.parametrize("name", READS)
def test_what_each_may_read(broker: GuardedBroker, witness: Client, name: str) -> None:
    with Client(broker, name) as client, Client(broker, "witness") as seer:
        for each in (client, seer):
            each.subscribe(
                "#", "$SYS/#", *TOPICS, "nanofleet/+/+", "nanofleet/frames/+", "nanofleet/results/+"
            )
        for topic in sorted(TOPICS):
            witness.publish(topic, topic.encode())
        hears(client, witness, min(READS[name]))
        assert set(client.topics) == READS[name]
        assert set(seer.topics) >= TOPICS
        assert any(topic.startswith("$SYS/") for topic in seer.topics)


@pytest.mark.parametrize("name", ["door", "home"])
def test_what_is_retained_is_no_way_around(broker: GuardedBroker, witness: Client, name: str) -> None:
    kept = sorted(FRAMES | COMMANDS | ANSWERS)
    for topic in kept:
        witness.publish(topic, b"kept", retain=True)
    with Client(broker, name) as client:
        client.subscribe("#")
        hears(client, witness, min(READS[name]))
        assert set(client.topics) == READS[name] & set(kept)
    for topic in kept:
        witness.publish(topic, b"", retain=True)


def test_a_clients_will_is_written_with_its_own_rights(broker: GuardedBroker, witness: Client) -> None:
    """Otherwise a camera could tell the fleet that a worker is lost, by vanishing."""
    witness.subscribe("nanofleet/#")
    for topic in ("nanofleet/workers/nano-1", "nanofleet/frames/garden", "nanofleet/frames/door"):
        with Client(broker, "door", will=topic) as client:
            sock = client.client.socket()
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)
            wait_for(lambda client=client: client.fault, what="the end of the connection")
    wait_for(lambda: witness.topics, what="the one will that is allowed")
    assert witness.topics == ["nanofleet/frames/door"]


def test_a_camera_of_mqtt_3_1_1(broker: GuardedBroker, witness: Client) -> None:
    """It is not told what is denied, and is denied it all the same."""
    witness.subscribe("nanofleet/frames/+")
    with Client(broker, "door", version=mqtt.MQTTv311) as client:
        assert client.publish("nanofleet/frames/garden") == 0
        hears(witness, client, "nanofleet/frames/door")
        assert set(witness.topics) == {"nanofleet/frames/door"}


# --- who gets in ----------------------------------------------------------------------------------------


def test_a_name_and_a_password_are_needed(broker: GuardedBroker) -> None:
    for attempt in (
        Client(broker, "door", user=None),
        Client(broker, "door", password="guessed"),
        Client(broker, "door", user="garden"),  # with the password of door
        Client(broker, "door", user="nobody"),
        Client(broker, "nano-1", user=None),
        Client(broker, "nano-1", password="guessed"),
        Client(broker, "nano-1", user="nano-2"),
    ):
        with attempt as client:
            assert client.connack == REFUSED, client.fault
    for name in ("door", "nano-1"):
        with Client(broker, name) as client:
            assert client.connack == 0


@pytest.mark.parametrize(
    ("name", "certificate"),
    [
        ("door", None),
        ("nano-1", None),
        ("door", "../../strangers/members/door"),
        ("nano-1", "../../strangers/members/nano-1"),
        ("nano-1", "door"),  # a camera that has got hold of a worker's password
        ("door", "nano-1"),
    ],
)
def test_the_right_certificate_is_needed_as_well(
    broker: GuardedBroker, name: str, certificate: Optional[str]
) -> None:
    with Client(broker, name, certificate=certificate) as client:
        assert client.connack is None
        assert client.fault
    with Client(broker, name) as client:
        assert client.connack == 0


def test_a_camera_that_cannot_show_a_certificate(broker: GuardedBroker, tmp_path: Path) -> None:
    """deploy/mosquitto/README.md says how it is let in; it still needs its password, and a worker both."""
    softer = GuardedBroker(tmp_path, broker.fleet)
    text = softer.config.read_text()
    softer.config.write_text(text.replace("require_certificate true", "require_certificate false", 1))
    softer.start()
    try:
        for name, password, connack in (
            ("door", "", 0),
            ("door", "guessed", REFUSED),
            ("nano-1", "", None),
        ):
            with Client(softer, name, certificate=None, password=password) as client:
                assert client.connack == connack, client.fault
    finally:
        softer.stop()


@pytest.mark.parametrize("name", ["door", "home"])
def test_the_inner_port_is_closed_to_cameras_and_listeners(broker: GuardedBroker, name: str) -> None:
    with Client(broker, name, port=broker.inner_port) as client:
        assert client.connack is None
        assert client.fault


@PAHO_DROPS_SOCKETS
def test_a_members_certificate_is_no_brokers(broker: GuardedBroker, tmp_path: Path) -> None:
    """Whoever has taken a camera over must not be able to play the broker to the others."""
    text = broker.config.read_text()
    door = broker.fleet / "members" / "door"
    text = text.replace(f"{broker.fleet}/broker/server.crt", f"{door}/client.crt")
    text = text.replace(f"{broker.fleet}/broker/server.key", f"{door}/client.key")
    fake = GuardedBroker(tmp_path, broker.fleet)
    ports = {str(broker.port): str(fake.port), str(broker.inner_port): str(fake.inner_port)}
    for old, new in ports.items():
        text = text.replace(f"listener {old}", f"listener {new}")
    fake.config.write_text(text)
    fake.start()
    try:
        with Client(fake, "garden") as client:
            assert client.connack is None
            assert "unsuitable certificate purpose" in client.fault or "unsupported" in client.fault
    finally:
        fake.stop()


@PAHO_DROPS_SOCKETS
def test_the_broker_is_known_by_its_name(broker: GuardedBroker) -> None:
    with Client(broker, "door", host="127.0.0.1") as client:
        assert client.connack is None
        assert "IP address mismatch" in client.fault
    with Client(broker, "door", host="localhost") as client:
        assert client.connack == 0


# --- sessions, and shares of the frames ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["door", "home"])
def test_none_but_a_worker_can_take_a_workers_session(broker: GuardedBroker, name: str) -> None:
    """By its client id one would get hold of its frames, and Mosquitto throws away what one may not read."""
    client_id, subscription = f"nanofleet-worker-of-{name}", f"$share/{name}/nanofleet/frames/+"
    with Client(broker, "nano-1", client_id=client_id, expiry=600) as worker:
        worker.subscribe(subscription)
    frames = [b"%d" % number for number in range(5)]
    with Client(broker, "garden") as camera:
        assert [camera.publish("nanofleet/frames/garden", frame) for frame in frames] == [0] * 5
    for expiry in (600, 0):  # going on with the session, and starting clean
        with Client(broker, name, client_id=client_id, expiry=expiry) as client:
            assert client.connack == 0
            client.subscribe("#")
    with Client(broker, "nano-2", client_id=client_id, expiry=600) as adopter:
        wait_for(lambda: len(adopter.messages) == 5, what="the five frames")
        assert [message.payload for message in adopter.messages] == frames
    with Client(broker, "nano-2", client_id=client_id) as adopter:  # ends the session
        assert adopter.connack == 0


def test_a_camera_gets_no_share_of_the_frames(broker: GuardedBroker, witness: Client) -> None:
    """One that joined the workers' group would have its share thrown away: it may not read it."""
    homes = (broker.fleet / "members").iterdir()
    group = (broker.fleet / "group").read_text().strip()
    knowing = {home.name for home in homes if any(group in file.read_text() for file in home.iterdir())}
    assert knowing == {"nano-1", "nano-2"}
    guesses = [f"$share/{guess}/nanofleet/frames/+" for guess in ("workers", "nanofleet", "default")] + ["#"]
    for subscriptions in (guesses, [f"$share/{group}/nanofleet/frames/+"]):
        with Client(broker, "nano-1") as worker, Client(broker, "garden") as thief:
            worker.subscribe(f"$share/{group}/nanofleet/frames/+")
            thief.subscribe(*subscriptions)
            for number in range(20):
                witness.publish("nanofleet/frames/door", b"%d" % number)
            if subscriptions is guesses:
                wait_for(lambda worker=worker: len(worker.messages) == 20, what="all frames")
            else:  # the control: this is what a guess would cost
                worker.subscribe("nanofleet/workers/nano-1")
                hears(worker, witness, "nanofleet/workers/nano-1")
                assert len(worker.topics) < 20
            assert (thief.messages, thief.fault) == ([], "")


#: Opens connections, says so, and holds them until its input ends.
_IDLE = """
import resource, socket, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(1200)]
print("held", flush=True)
sys.stdin.read()
"""


def test_idle_connections_to_the_cameras_port_lock_no_worker_out(broker: GuardedBroker) -> None:
    assert broker.process is not None
    limits = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (1024, limits[1]))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _IDLE, str(broker.port)], **pipes) as idle:  # type: ignore[call-overload]
        assert idle.stdout.readline() == b"held\n"
        with Client(broker, "nano-1") as worker, Client(broker, "admin") as operator:
            assert (worker.connack, operator.connack) == (0, 0)
        idle.stdin.close()
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, limits)
