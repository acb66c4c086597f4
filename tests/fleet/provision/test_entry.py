"""Who gets in at a broker of `nanofleet provision`, at which port, and whose session it may take."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from tests.fleet.provision.rights import PAHO_DROPS_SOCKETS, receives
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker
from tests.harness import wait_for


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
                receives(worker, witness, "nanofleet/workers/nano-1")
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
