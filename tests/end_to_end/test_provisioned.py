"""A fleet on a broker that lets nobody in without a certificate and a password, each from its own folder."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.fleet.in_folder import IN_FOLDER, Member, answered, command
from tests.fleet.members import result, status
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker, provision
from tests.harness import MODEL, adopter, user_properties, wait_for

MEMBERS = (
    *("--camera", "door,garden", "--worker", "nano-1,nano-2"),
    *("--listener", "home", "--operator", "admin"),
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[GuardedBroker]:
    """A broker as `nanofleet provision` leaves it."""
    provision(tmp_path / "fleet", *MEMBERS)
    started = GuardedBroker(tmp_path, tmp_path / "fleet")
    assert started.config.read_text().count("require_certificate true\n") == 2
    started.start()
    yield started
    started.stop()


@pytest.fixture
def start(broker: GuardedBroker) -> Iterator[Callable[..., Member]]:
    """Start workers, which must end well with the test."""
    started = []

    def start_member(name: str, *flags: str) -> Member:
        started.append(Member(broker.home(name), *flags))
        return started[-1]

    yield start_member
    for member in started:
        if member.process.poll() is None:
            assert member.stop() == 0, member.log.read_text()
        assert not member.said("Traceback"), member.log.read_text()


def test_each_does_its_part_from_its_own_folder(
    broker: GuardedBroker, photos: Path, start: Callable[..., Member]
) -> None:
    worker = start("nano-1", "--model", MODEL)
    worker.wait_ready()
    with Client(broker, "home") as listener:
        listener.subscribe("nanofleet/#")
        sent = command(broker.home("door"), "publish", str(photos / "chelsea.png"))
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert "Egyptian cat" in sent.stdout
        assert "nano-1" in sent.stdout
        wait_for(lambda: "nanofleet/results/door" in listener.topics, what="the listener's copy")
        assert "nanofleet/workers/nano-1" in listener.topics
        assert not any(topic.startswith("nanofleet/frames/") for topic in listener.topics)
    used = command(broker.home("admin"), "models", "use", MODEL, "--timeout", "60")
    assert used.returncode == 0, used.stdout + used.stderr
    assert "serving" in used.stdout
    sent = command(broker.home("admin"), "publish", str(photos / "coffee.png"), "--camera", "garden")
    assert "espresso" in sent.stdout, sent.stdout + sent.stderr


def test_what_is_not_a_members_part_ends_in_one_message(broker: GuardedBroker, photos: Path) -> None:
    image = str(photos / "coffee.png")
    as_another = command(broker.home("door"), "publish", image, "--camera", "garden", "--no-spool")
    assert as_another.returncode == 1
    assert "refused by the broker 1" in as_another.stdout
    for part in (("use", MODEL), ("reset",)):
        commanding = command(broker.home("door"), "models", *part)
        assert commanding.returncode == 3
        assert "refuses nanofleet/control/model (0x87): check its ACL for this user" in commanding.stderr
    home = broker.home("door")
    (home / "password").write_text("wrong")
    wrong = command(home, "publish", image)
    assert wrong.returncode == 3
    assert "wrong or missing user name or password" in wrong.stderr
    (home / "ca.crt").write_text((broker.fleet / "ca" / "inner-ca.crt").read_text())
    untrusted = command(home, "publish", image)
    assert untrusted.returncode == 3
    assert "its certificate was not accepted" in untrusted.stderr


def test_a_worker_in_a_listeners_folder_ends_in_one_message(broker: GuardedBroker, tmp_path: Path) -> None:
    """Mosquitto lets it subscribe to frames, and then delivers none."""
    flags = ("--model", MODEL, "--worker-id", "nano-1", "--metrics-port", "0", "--state-dir", str(tmp_path))
    worker = command(broker.home("home"), "worker", *flags)
    assert worker.returncode == 3
    assert "refuses nanofleet/workers/nano-1 (0x87): its ACL must let this user write there" in worker.stderr
    assert "connected to" not in worker.stderr


def test_only_an_operator_forgets_workers(broker: GuardedBroker) -> None:
    # As they stood before the members were called otherwise; a worker may write its own alone.
    with Client(broker, "admin") as operator:
        for name in ("old-1", "old-2"):
            gone = status(name, state="offline").encode()
            assert operator.publish(f"nanofleet/workers/{name}", gone, retain=True) != REFUSED
    for name in ("home", "admin"):
        listed = command(broker.home(name), "workers", "--json")
        assert (listed.returncode, listed.stderr) == (1, "")  # nobody is online
        assert listed.stdout.count("offline") == 2
    for name in ("door", "home"):
        refused = command(broker.home(name), "workers", "forget", "old-1", "old-2")
        assert "forgotten" not in refused.stdout
        assert refused.returncode == (3 if name == "home" else 1)
    assert "check its ACL for this user" in refused.stderr
    forgotten = command(broker.home("admin"), "workers", "forget", "old-1", "old-2")
    assert (forgotten.returncode, forgotten.stderr) == (0, "")
    assert command(broker.home("home"), "workers", "--json").stdout == ""


def test_a_camera_and_a_listener_follow_what_is_theirs(broker: GuardedBroker) -> None:
    for name, cameras in (("door", {"door"}), ("home", {"door", "garden"})):
        follow = [*IN_FOLDER, "results", "--json", "--count", str(len(cameras)), "--timeout", "30"]
        before = broker.log.read_text().count("SUBACK")
        with subprocess.Popen(follow, cwd=broker.home(name), stdout=subprocess.PIPE) as shown:
            wait_for(lambda b=before: broker.log.read_text().count("SUBACK") > b, what="its subscription")
            with Client(broker, "nano-1") as worker:
                for camera in ("garden", "door"):
                    worker.publish(f"nanofleet/results/{camera}", result(camera).encode())
            out, _ = shown.communicate(timeout=60)
        assert shown.returncode == 0
        assert {json.loads(line)["camera"] for line in out.splitlines()} == cameras


def test_a_worker_adopts_another_under_its_own_name(
    broker: GuardedBroker, photos: Path, start: Callable[..., Member]
) -> None:
    """The adopter has the dead one's client id, and its own user, password and rights."""
    quick = ("--status-interval", "0.5", "--adopt-after", "1")
    dead, living = start("nano-1", *quick), start("nano-2", *quick)
    dead.wait_ready()
    living.wait_ready()
    image = (photos / "rocket.jpg").read_bytes()
    with Client(broker, "home") as listener, Client(broker, "door") as camera:
        listener.subscribe("nanofleet/results/+", "nanofleet/workers/#")
        for number in range(60):
            if number == 20:
                dead.stop(signal.SIGKILL)
            assert (
                camera.publish(
                    "nanofleet/frames/door", image, **user_properties(("frame-id", f"frame-{number}"))
                )
                == 0
            )
        wait_for(lambda: adopter(list(listener.messages), "nano-1") == "nano-2", 60, "adopted by nano-2")
        wait_for(lambda: len(answered(listener)) == 60, what="60 answers")
    assert "as nanofleet-worker-nano-1 (p5, c0, k30, u'nano-2')" in broker.log.read_text()


def test_whatever_is_rotated_is_used_at_the_next_connect(
    broker: GuardedBroker, photos: Path, start: Callable[..., Member]
) -> None:
    """Passwords, certificates and both CAs are replaced under a worker with frames on their way to it."""
    worker = start("nano-1")
    worker.wait_ready()
    image = (photos / "rocket.jpg").read_bytes()
    with Client(broker, "home", client_id="listener-home", expiry=600) as listener:
        listener.subscribe("nanofleet/results/+")
        with Client(broker, "door") as camera:
            for number in range(30):
                assert (
                    camera.publish(
                        "nanofleet/frames/door", image, **user_properties(("frame-id", f"before-{number}"))
                    )
                    == 0
                )
        broker.stop()
    before = answered(listener)
    for file in (
        *broker.fleet.glob("ca/*"),
        *broker.fleet.glob("*/*/client.*"),
        *broker.fleet.glob("*/*/password"),
    ):
        file.unlink()
    (broker.fleet / "broker" / "server.crt").unlink()
    provision(broker.fleet)
    broker.home("nano-1")
    broker.start()
    with Client(broker, "home", client_id="listener-home", expiry=600) as listener:
        listener.subscribe("nanofleet/results/+")
        worker.wait_said("connected again")
        with Client(broker, "door") as camera:
            for number in range(30):
                assert (
                    camera.publish(
                        "nanofleet/frames/door", image, **user_properties(("frame-id", f"after-{number}"))
                    )
                    == 0
                )
        sent = {f"{when}-{number}" for when in ("before", "after") for number in range(30)}
        wait_for(lambda: answered(listener) | before == sent, 60, "every frame's answer")
    assert worker.process.poll() is None


def test_a_certificate_near_its_end_is_told(broker: GuardedBroker, start: Callable[..., Member]) -> None:
    """Also before there is a connection, which the broker refuses once it has expired."""
    (broker.fleet / "members" / "nano-1" / "client.crt").unlink()
    provision(broker.fleet, "--days", "5")
    broker.stop()
    worker = start("nano-1")
    worker.wait_said("cannot reach")
    assert worker.said("--cert-file client.crt: this certificate is good until 20")
    page = f"http://127.0.0.1:{worker.metrics_port}/metrics"
    with urllib.request.urlopen(page) as metrics:
        (line,) = [
            text
            for text in metrics.read().decode().splitlines()
            if "certificate_expiry_timestamp_seconds " in text and text[0] != "#"
        ]
    assert 4.9 < (float(line.split()[1]) - time.time()) / 86_400 < 5.1
    worker.stop(signal.SIGKILL)
