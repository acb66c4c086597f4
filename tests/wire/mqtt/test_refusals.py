"""What a broker refuses: real brokers that say no, or promise too little."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import Callable, List, Tuple

import paho.mqtt
import pytest

from tests.harness import MODEL, Mosquitto, nanofleet, need, wait_for
from tests.wire.mqtt.members import (
    Member,
    refused,
    send,
)
from tests.wire.servers import answering
from wire.broker import BrokerSettings
from wire.errors import ConnectionRefused, DuplicateMember, SettingsError
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Publication

QOS_0 = ("allow_anonymous true", "max_qos 0")


@pytest.fixture
def guarded(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Tuple[Mosquitto, Path]:
    """A broker that wants a password, and a file that holds it."""
    (tmp_path / "users").touch()
    subprocess.run(
        [need("mosquitto_passwd"), "-b", str(tmp_path / "users"), "camera", "right"],
        check=True,
        capture_output=True,
    )
    (tmp_path / "users").chmod(0o644)
    (tmp_path / "right").write_text("right\n")
    broker = mosquitto("allow_anonymous false", f"password_file {tmp_path}/users", "user root")
    return broker, tmp_path / "right"


def test_the_right_password(guarded: Tuple[Mosquitto, Path], join: Callable[..., Member]) -> None:
    broker, secret = guarded
    url = broker.url.replace("mqtt://", "mqtt://camera@")
    assert join(url, settings={"password_file": secret}).connection.connected.is_set()


def test_a_wrong_password_and_none(guarded: Tuple[Mosquitto, Path], tmp_path: Path) -> None:
    broker, _ = guarded
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong-s3cret")
    url = broker.url.replace("mqtt://", "mqtt://camera@")
    text = refused(url, settings={"password_file": wrong})
    assert text.startswith(f"{url} refused the connection: ")
    assert "wrong or missing user name or password" in text
    assert "s3cret" not in text
    assert "--broker" in refused(broker.url)


def test_a_broker_without_mqtt_5_is_named_as_that() -> None:
    """How a broker that speaks MQTT 3.1.1 only answers: unacceptable protocol version, without properties."""
    with answering(b"\x20\x02\x00\x01") as port:
        assert "does not speak MQTT 5" in refused(f"mqtt://127.0.0.1:{port}")


def test_the_3_1_1_port_of_the_embedded_broker_is_not_for_members(
    request: pytest.FixtureRequest, join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("iotcore")
    scheme, host, port = request.getfixturevalue("embedded_url").split(":")
    with caplog.at_level(logging.WARNING):
        member = join(f"{scheme}:{host}:{int(port) + 1}", wait=False)
        wait_for(lambda: "cannot reach" in caplog.text or member.failures, what="a warning")
    assert not member.connection.connected.is_set()


def test_reading_that_is_not_allowed(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """By the dynamic security plugin: an acl_file lets everybody subscribe, and then delivers nothing."""
    plugins = sorted(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("this Mosquitto comes without its dynamic security plugin")
    rules = tmp_path / "rules.json"
    rules.write_text('{"defaultACLAccess": {"subscribe": false, "publishClientSend": true}}')
    rules.chmod(0o600)
    broker = mosquitto(
        "allow_anonymous true", f"plugin {plugins[0]}", f"plugin_opt_config_file {rules}", "user root"
    )
    member = Member(broker.url, "nanofleet/results/door")
    with pytest.raises(ConnectionRefused) as caught, member.connection as connection:
        wait_for(lambda: connection.check() or connection.ended.is_set())
    text = str(caught.value)
    assert "does not let this member read nanofleet/results/door" in text
    assert "ACL" in text


def test_writing_that_is_not_allowed_is_reported(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, join: Callable[..., Member], root: str
) -> None:
    (tmp_path / "acl").write_text("topic read #\ntopic write probe/#\n")
    (tmp_path / "acl").chmod(0o644)
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path}/acl", "user root")
    assert send(join(broker.url), f"{root}/a", b"x") == [0x87]


@pytest.mark.parametrize(
    "disconnect",
    [
        pytest.param(b"\xe0\x07\x8e\x05\x1f\x00\x02no", id="with a reason string"),
        pytest.param(
            b"\xe0\x01\x8e",
            id="bare",
            marks=pytest.mark.skipif(
                paho.mqtt.__version__.startswith("2.1."),
                reason="paho 2.1 reads no reason from so short a DISCONNECT: the retained status must do",
            ),
        ),
    ],
)
def test_the_session_taken_over_by_a_duplicate(join: Callable[..., Member], disconnect: bytes) -> None:
    """CONNACK, then DISCONNECT 0x8E, as MQTT 5 has it; Mosquitto 2.0.11 and rumqttd just hang up."""
    with answering(b"\x20\x03\x00\x00\x00" + disconnect) as port:
        older = join(f"mqtt://127.0.0.1:{port}", wait=False, client_id="duplicate")
        assert older.connection.ended.wait(60)
    with pytest.raises(DuplicateMember, match="another client connected as 'duplicate'"):
        older.connection.check()
    assert older.failures == [older.connection.failure]


def test_a_member_that_does_not_give_way_takes_its_session_back(join: Callable[..., Member]) -> None:
    """As a worker does: it may have been taken for dead, and adopted, while it lived."""
    with answering(b"\x20\x03\x00\x00\x00" + b"\xe0\x07\x8e\x05\x1f\x00\x02no") as port:
        member = join(f"mqtt://127.0.0.1:{port}", wait=False, gives_way=False)
        wait_for(lambda: len(member.sessions) > 1, what="another connection")
        assert "took the session over" in member.connection.trouble
        assert not member.failures


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["publish", "FRAME"], id="publish"),
        pytest.param(["publish", "FRAME", "--no-spool"], id="publish without a spool"),
        pytest.param(["publish", "FRAME", "--loop"], id="publish in a loop"),
        pytest.param(["workers"], id="workers"),
        pytest.param(["results"], id="results"),
        pytest.param(["models", "use", "resnet18"], id="models use"),
        pytest.param(["worker", "--model", MODEL, "--no-observe"], id="worker"),
    ],
)
def test_a_broker_that_takes_qos_0_alone_is_reported_once(
    command: List[str], mosquitto: Callable[..., Mosquitto], root: str, tmp_path: Path
) -> None:
    frame = tmp_path / "frame.jpg"
    frame.write_bytes(b"image")
    broker = mosquitto(*QOS_0)
    words = [str(frame) if word == "FRAME" else word for word in command]
    if "worker" in command:
        words += ["--state-dir", str(tmp_path)]
    if "publish" in command and "--no-spool" not in command:
        words += ["--spool-dir", str(tmp_path / "spool")]
    run = nanofleet(*words, "--broker", broker.url, "--root", root)
    assert run.returncode == 2, run.stdout + run.stderr
    assert run.stderr.count("takes QoS 0 alone") == 1
    assert "max_qos 1" in run.stderr
    assert not list(tmp_path.rglob("*.frame"))


@pytest.mark.parametrize("will", [None, Publication("will", b"lost")], ids=["without a will", "with a will"])
def test_a_connection_that_cannot_keep_its_promise(
    will: Publication, mosquitto: Callable[..., Mosquitto], root: str
) -> None:
    """A will is refused by the broker itself; without one, its Maximum QoS has to be looked at."""
    broker = BrokerSettings(broker=mosquitto(*QOS_0).url, root=root).open_broker()
    connection = Connection(broker, f"{root}-c", on_delivery=lambda delivery: None, will=will)
    with pytest.raises(SettingsError, match="QoS 0 alone"), connection:
        wait_for(lambda: connection.check() or connection.ended.is_set())


def test_a_broker_that_comes_back_with_less_is_waited_for(
    mosquitto: Callable[..., Mosquitto], root: str
) -> None:
    """Somebody is at work on it: the fleet must not be gone when it is right again."""
    broker = mosquitto("allow_anonymous true")
    whole = broker.config.read_text()
    settings = BrokerSettings(broker=broker.url, root=root)
    with Connection(settings.open_broker(), f"{root}-c", on_delivery=lambda delivery: None) as connection:
        wait_for(connection.connected.is_set, what="a first connection")
        broker.stop()
        broker.config.write_text(f"{whole}max_qos 0\n")
        broker.start()
        wait_for(lambda: "QoS 0 alone" in connection.trouble, what="a warning")
        broker.stop()
        broker.config.write_text(whole)
        broker.start()
        wait_for(connection.connected.is_set, what="a connection")
        connection.check()
