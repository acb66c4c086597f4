"""What a broker's CONNACK means for each member: real brokers that promise too little."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List

import pytest

from tests.harness import MODEL, Mosquitto, nanofleet, wait_for
from wire.broker import BrokerSettings
from wire.errors import SettingsError
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Publication

QOS_0 = ("allow_anonymous true", "max_qos 0")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["publish", "FRAME"], id="publish"),
        pytest.param(["publish", "FRAME", "--no-spool"], id="publish without a spool"),
        pytest.param(["publish", "FRAME", "--loop"], id="publish in a loop"),
        pytest.param(["workers"], id="workers"),
        pytest.param(["results"], id="results"),
        pytest.param(["models", "use", "resnet18"], id="models use"),
        pytest.param(["worker", "--model", MODEL], id="worker"),
    ],
)
def test_a_broker_that_takes_qos_0_alone_is_told_once(
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
        wait_for(lambda: connection.check() or connection.ended.is_set(), 10)


def test_a_broker_that_comes_back_with_less_is_waited_for(
    mosquitto: Callable[..., Mosquitto], root: str
) -> None:
    """Somebody is at work on it: the fleet must not be gone when it is right again."""
    broker = mosquitto("allow_anonymous true")
    whole = broker.config.read_text()
    settings = BrokerSettings(broker=broker.url, root=root)
    with Connection(settings.open_broker(), f"{root}-c", on_delivery=lambda delivery: None) as connection:
        wait_for(connection.connected.is_set, 10, "a first connection")
        broker.stop()
        broker.config.write_text(f"{whole}max_qos 0\n")
        broker.start()
        wait_for(lambda: "QoS 0 alone" in connection.trouble, 20, "a word about it")
        broker.stop()
        broker.config.write_text(whole)
        broker.start()
        wait_for(connection.connected.is_set, 30, "a connection")
        connection.check()
