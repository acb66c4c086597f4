"""Mosquitto with the configurations of deploy/: its limits, large frames, and what survives a restart."""

from __future__ import annotations

import getpass
import re
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple

import paho.mqtt.client as mqtt
import pytest
import yaml
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet.provision.mosquitto import LIMITS
from tests.deploy.files import CONFIGS, DEPLOY, MEMORY, options, run
from tests.harness import Mosquitto, need, wait_for
from wire.mqtt.packets import PACKET_OVERHEAD
from worker.settings import WorkerSettings
from worker.settings.worker import MOST_WINDOW


class Broker(Mosquitto):
    """Mosquitto with a configuration of deploy/, but for its port, its data folder and its user."""

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder)
        self.database = folder / "mosquitto.db"
        text, listeners = re.subn(r"(?m)^listener 1883\b.*$", f"listener {self.port} 127.0.0.1", text)
        text, folders = re.subn(r"(?m)^persistence_location .*$", f"persistence_location {folder}/", text)
        assert (listeners, folders) == (1, 1)
        # Started by root, Mosquitto would become a user of its own, whom pytest's folders don't let in.
        self.config.write_text(f"{text}\nuser {getpass.getuser()}\n")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[str], Broker]]:
    """Start brokers with the text of a configuration."""
    started: List[Broker] = []

    def start(text: str) -> Broker:
        folder = tmp_path / f"broker-{len(started)}"
        folder.mkdir()
        started.append(Broker(folder, text))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


class Client:
    """A plain MQTT 5 client, connected while the block lasts."""

    def __init__(self, broker: Broker, name: str, *, expiry: int = 0) -> None:
        self.connack: Optional[Tuple[int, Any]] = None
        self.payloads: List[bytes] = []
        self.subscribed = threading.Event()
        self._broker = broker
        self._expiry = expiry
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda client, userdata, message: self.payloads.append(message.payload)
        self.client.on_subscribe = lambda *_: self.subscribed.set()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.connack = (reason.value, properties)

    def __enter__(self) -> Client:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._expiry
        self.client.connect("127.0.0.1", self._broker.port, clean_start=False, properties=properties)
        self.client.loop_start()
        wait_for(lambda: self.connack, what="CONNACK")
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, 1)
        assert self.subscribed.wait(60)


def test_limits_fit_the_worker() -> None:
    conf = options(CONFIGS[0])
    defaults = {name: field.default for name, field in WorkerSettings.model_fields.items()}
    assert int(conf["max_packet_size"]) >= defaults["max_payload"] + PACKET_OVERHEAD
    assert int(conf["max_inflight_messages"]) > MOST_WINDOW
    assert int(conf["max_queued_bytes"]) >= int(conf["max_packet_size"])


def test_the_broker_may_take_what_its_limits_add_up_to() -> None:
    """Three workers away, twenty there, and a packet of nothing but properties, 19 times its length."""
    conf = {name: int(value) for name, value in options(CONFIGS[0]).items() if value.isdigit()}
    there = 2 * conf["max_inflight_messages"] * 100_000
    needed = 3 * conf["max_queued_bytes"] + 20 * there + 20 * conf["max_packet_size"]
    (limit,) = re.findall(r"(?m)^MemoryMax=(\d+)G$", MEMORY.read_text())
    assert needed < int(limit) << 30
    broker = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]["broker"]
    assert broker["mem_limit"] == broker["memswap_limit"] == f"{limit}g"


def test_systemd_accepts_the_limit_of_the_brokers_memory(tmp_path: Path) -> None:
    unit = tmp_path / "mosquitto.service"
    unit.write_text(f"[Service]\nExecStart={shlex.quote(sys.executable)}\n")
    (tmp_path / MEMORY.parent.name).mkdir()
    (tmp_path / MEMORY.parent.name / MEMORY.name).write_text(MEMORY.read_text())
    verified = run(need("systemd-analyze"), "verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_compose_differs_from_the_other_only_where_a_container_must() -> None:
    first, second = map(options, CONFIGS)
    assert first.keys() == second.keys()
    assert {k for k in first if first[k] != second[k]} == {"listener", "persistence_location"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_large_frames_pass(broker: Callable[[str], Broker], config: Path) -> None:
    server = broker(config.read_text())
    frame = bytes(range(256)) * 7422  # 1.9 MB
    with Client(server, "listener") as listener, Client(server, "camera") as camera:
        assert camera.connack
        assert camera.connack[1].MaximumPacketSize == int(options(config)["max_packet_size"])
        assert camera.connack[1].ReceiveMaximum == int(options(config)["max_inflight_messages"])
        listener.subscribe("nanofleet/frames/+")
        camera.client.publish("nanofleet/frames/door", frame, 1).wait_for_publish(10)
        wait_for(lambda: listener.payloads, what="the frame")
        assert listener.payloads == [frame]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=lambda signum: signum.name)
def test_waiting_frames_survive(broker: Callable[[str], Broker], signum: signal.Signals) -> None:
    server = broker(CONFIGS[0].read_text())
    frames = [b"%04d" % number + b"x" * 20_000 for number in range(50)]
    with Client(server, "worker", expiry=3600) as worker:
        worker.subscribe("nanofleet/frames/+")
    with Client(server, "camera") as camera:
        for frame in frames:
            published = camera.client.publish("nanofleet/frames/door", frame, 1)
        published.wait_for_publish(10)
    if signum is signal.SIGKILL:
        size, database = sum(map(len, frames)), server.database
        wait_for(lambda: database.exists() and database.stat().st_size > size, what="the autosave")
    server.stop(signum)
    server.start()
    with Client(server, "worker", expiry=3600) as worker:
        wait_for(lambda: len(worker.payloads) == len(frames), what="the frames")
        assert worker.payloads == frames


def test_provision_writes_the_same_limits() -> None:
    here = options(CONFIGS[0])
    assert here == {**LIMITS, "listener": "1883 127.0.0.1", "allow_anonymous": "true"}
