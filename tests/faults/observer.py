"""An observer of every answer, whose session outlives every broker that keeps sessions."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, List, NamedTuple, Set, Union
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from wire.messages import Rejection, Result


class Heard(NamedTuple):
    """An answer, and when it came."""

    moment: float
    answer: Union[Result, Rejection]

    @property
    def outcome(self) -> str:
        """`result`, or the reason of a rejection."""
        return self.answer.reason.value if isinstance(self.answer, Rejection) else "result"


class Observer:
    """Receives the answers below a root, and publishes frames at QoS 1 without any spool.

    Attributes:
        answers: all that it has received.
        heard: the frame ids in it.
    """

    def __init__(self, url: str, root: str) -> None:
        self.answers: List[Heard] = []
        self.heard: Set[str] = set()
        self._payloads: Set[bytes] = set()
        self._client = self._connect(url, root)

    def _connect(self, url: str, root: str) -> mqtt.Client:
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"observer-{random.getrandbits(64):x}",
            protocol=mqtt.MQTTv5,
        )
        client.on_message = self._hear
        client.on_connect = lambda c, *_: c.subscribe([(f"{root}/results/+", 1), (f"{root}/rejects/+", 1)])
        client.max_inflight_messages_set(100)
        client.reconnect_delay_set(1, 1)
        ready = threading.Event()
        client.on_subscribe = lambda *_: ready.set()
        where = urlsplit(url)
        if where.username:
            client.username_pw_set(where.username, where.password)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        assert where.hostname
        assert where.port
        client.connect(where.hostname, where.port, clean_start=False, properties=properties)
        client.loop_start()
        assert ready.wait(10)
        return client

    def _hear(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.dup and message.payload in self._payloads:
            return  # the broker's second try to deliver it to us, and no second answer
        self._payloads.add(message.payload)
        kind: Any = Result if "/results/" in message.topic else Rejection
        answer = kind.decode(message.payload)
        self.answers.append(Heard(time.monotonic(), answer))
        self.heard.add(answer.frame_id)

    def publish(self, topic: str, payload: bytes, **properties: Any) -> mqtt.MQTTMessageInfo:
        """Publish at QoS 1, with MQTT 5 properties by paho's names."""
        packed = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(packed, name, value)
        return self._client.publish(topic, payload, qos=1, properties=packed)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
