"""A fleet as `nanofleet provision` makes it: its broker, and clients that come with a member's folder."""

from __future__ import annotations

import getpass
import re
import ssl
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet.provision.rights import INNER_ROLES
from tests.harness import Mosquitto, nanofleet, wait_for
from tests.ports import free_port

REFUSED = 0x87


def provision(folder: Path, *arguments: str) -> str:
    """Run the command, which must succeed; returns what it printed."""
    run = nanofleet("provision", str(folder), *arguments)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    return run.stdout


class GuardedBroker(Mosquitto):
    """Mosquitto with the files in FOLDER/broker, but for its ports, its folders and its user."""

    def __init__(self, folder: Path, fleet: Path) -> None:
        super().__init__(folder)
        self.fleet = fleet
        self.inner_port = free_port()
        text = (fleet / "broker" / "mosquitto.conf").read_text()
        for pattern, here, times in (
            (r"listener 8883$", f"listener {self.port} 127.0.0.1", 1),
            (r"listener 8884$", f"listener {self.inner_port} 127.0.0.1", 1),
            (r"(\w+) /etc/mosquitto/", rf"\1 {fleet}/broker/", 8),
            (r"persistence_location .*", f"persistence_location {folder}/", 1),
        ):
            text, count = re.subn(f"(?m)^{pattern}", here, text)
            assert count == times, pattern
        # Started by root, Mosquitto would become a user of its own, whom pytest's folders don't let in.
        self.config.write_text(f"{text}user {getpass.getuser()}\nlog_type all\n")

    def home(self, name: str) -> Path:
        """A member's folder, whose environment names this broker's ports."""
        home = self.fleet / "members" / name
        text = (home / "member.env").read_text()
        text = text.replace("localhost:8883", f"localhost:{self.port}")
        text = text.replace("localhost:8884", f"localhost:{self.inner_port}")
        (home / "member.env").write_text(text)
        return home


def _tls(home: Path, certificate: Optional[Path]) -> ssl.SSLContext:
    """What a client trusts by its own folder, and shows by another's, or by none."""
    tls = ssl.create_default_context(cafile=str(home / "ca.crt"))
    tls.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    if certificate is not None:
        tls.load_cert_chain(str(certificate / "client.crt"), str(certificate / "client.key"))
    return tls


class Client:
    """A client that shows what is in a member's folder, but for what a test has it show instead: paho alone.

    A context manager: entering tries to connect, and sets `connack` to the broker's reason code, or `fault`
    to what ended the connection before.
    """

    def __init__(
        self,
        broker: GuardedBroker,
        name: str,
        *,
        client_id: str = "",
        port: Optional[int] = None,
        user: Optional[str] = "",
        password: str = "",
        certificate: Optional[str] = "",
        host: str = "localhost",
        version: int = mqtt.MQTTv5,
        will: str = "",
        expiry: int = 0,
        home: Optional[Path] = None,
    ) -> None:
        """Take what the client shows; entering connects.

        Args:
            broker: where.
            name: whose folder it has.
            client_id: what it calls itself; the broker makes one up otherwise.
            port: where it connects; else where the member's role belongs.
            user: as whom it logs in, None for nobody; else as itself.
            password: what it says; else its own.
            certificate: whose folder its certificate is from, None for none; else its own.
            host: by which name it knows the broker.
            version: of MQTT.
            will: topic of a will.
            expiry: seconds for which the broker keeps the session (MQTT 5); 0 starts and ends with none.
            home: the member's folder, if it is elsewhere.
        """
        home = home or broker.fleet / "members" / name
        role = (home / "role").read_text().strip()
        self.connack: Optional[int] = None
        self.fault = ""
        self.messages: List[mqtt.MQTTMessage] = []
        self.codes: List[int] = []
        self._subscribed = threading.Event()
        self._host = host
        self._expiry = expiry
        self._port = port or (broker.inner_port if role in INNER_ROLES else broker.port)
        self.client = self._listening(client_id, version)
        if user is not None:
            self.client.username_pw_set(user or name, password or (home / "password").read_text().strip())
        shown = broker.fleet / "members" / certificate if certificate else home
        self.client.tls_set_context(_tls(home, None if certificate is None else shown))
        if will:
            self.client.will_set(will, b"will", qos=1)

    def _listening(self, client_id: str, version: int) -> mqtt.Client:
        """A client of paho's that notes here what comes."""
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTProtocolVersion(version),
            reconnect_on_failure=False,
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda client, userdata, message: self.messages.append(message)
        client.on_publish = lambda client, userdata, mid, reason, *_: self.codes.append(reason.value)
        client.on_subscribe = lambda *_: self._subscribed.set()
        return client

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.connack = reason.value

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.fault = str(reason)

    def __enter__(self) -> Client:
        options: Dict[str, Any] = {}
        if self._expiry:
            options = {"clean_start": False, "properties": Properties(PacketTypes.CONNECT)}
            options["properties"].SessionExpiryInterval = self._expiry
        try:
            self.client.connect(self._host, self._port, **options)
        except OSError as error:
            self.fault = str(error)
            return self
        self.client.loop_start()
        wait_for(lambda: self.connack is not None or self.fault, what="CONNACK, or the end")
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        # paho leaves its sockets to the garbage collector, which warns if it takes one before the client.
        self.client._reset_sockets()

    def subscribe(self, *topics: str) -> None:
        """Subscribe, and wait for the SUBACK."""
        self._subscribed.clear()
        self.client.subscribe([(topic, 1) for topic in topics])
        assert self._subscribed.wait(60)

    def publish(self, topic: str, payload: bytes = b"-", **options: Any) -> int:
        """Publish at QoS 1; returns the PUBACK's reason code."""
        before = len(self.codes)
        self.client.publish(topic, payload, qos=1, **options)
        wait_for(lambda: len(self.codes) > before, what=f"PUBACK for {topic}")
        return self.codes[-1]

    @property
    def topics(self) -> List[str]:
        """Of the messages so far."""
        return [message.topic for message in list(self.messages)]
