"""A member for tests of the connection, and what they check of it."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from typing import Any, Callable, List

import pytest

from tests.harness import wait_for
from wire.broker import BrokerSettings
from wire.errors import ConnectionRefused
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.waiting import wait_until

NEVER = threading.Event()

#: paho drops the socket of a handshake that failed, and leaves it to the garbage collector to close it.
PAHO_DROPS_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


class Member:
    """A connection that records what it receives, and acks nothing by itself."""

    def __init__(self, url: str, *subscriptions: str, **options: Any) -> None:
        settings = options.pop("settings", {})
        self.received: List[Delivery] = []
        self.sessions: List[bool] = []
        self.losses = 0
        self.failures: List[BaseException] = []
        self.connection = Connection(
            BrokerSettings(broker=url, **settings).open_broker(),
            options.pop("client_id", f"test-{uuid.uuid4().hex}"),
            on_delivery=options.pop("on_delivery", self.received.append),
            on_connected=self.sessions.append,
            on_lost=self._lost,
            on_failure=self.failures.append,
            subscriptions=dict.fromkeys(subscriptions, 1),
            **options,
        )

    def _lost(self) -> None:
        self.losses += 1

    def payloads(self) -> List[bytes]:
        return [delivery.payload for delivery in list(self.received)]

    def wait_received(self, count: int) -> List[Delivery]:
        wait_for(lambda: len(self.received) >= count, what=f"{count} messages")
        return list(self.received)

    def ack(self, *deliveries: Delivery) -> List[bool]:
        """Ack in the network thread, as it must be."""
        answers: List[bool] = []
        for delivery in deliveries:
            self.connection.call(lambda delivery=delivery: answers.append(self.connection.ack(delivery)))  # type: ignore[misc]
        wait_for(lambda: len(answers) == len(deliveries), what="acks")
        return answers

    def wait_subscribed(self) -> None:
        """What was posted before this has been sent, and mosquitto answers in order."""
        done: List[int] = []
        self.connection.publish(Publication(f"probe/{uuid.uuid4().hex}", b"", on_puback=done.append))
        wait_for(lambda: done, what="PUBACK")

    def break_connection(self) -> None:
        """Lose the connection as a broken cable does: no DISCONNECT."""
        before = self.losses

        def shut() -> None:
            sock = self.connection._client.socket()
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)

        self.connection.call(shut)
        wait_for(lambda: self.losses > before, what="on_lost")


def send(sender: Member, topic: str, *payloads: bytes, **options: Any) -> List[int]:
    """Publish, and wait for the reason codes."""
    codes: List[int] = []
    for payload in payloads:
        sender.connection.publish(Publication(topic, payload, on_puback=codes.append, **options))
    wait_for(lambda: len(codes) == len(payloads), what=f"{len(payloads)} PUBACKs")
    return codes


def refused(url: str, **options: Any) -> str:
    """Connect where it must fail for good; returns the message for the user."""
    member = Member(url, **options)
    with pytest.raises(ConnectionRefused) as caught, member.connection as connection:
        connection.wait_connected(threading.Event())
    assert member.failures == [caught.value]
    assert caught.value.exit_code == 3
    assert not connection.connected.is_set()
    return str(caught.value)


def wait_quietly(condition: Callable[[], bool], seconds: float = 0.4) -> bool:
    """Whether something that must not happen does so within a moment."""
    return wait_until(condition, seconds, step=0.02)


def is_without_delay(member: Member) -> bool:
    sock = member.connection._client.socket()
    assert sock is not None
    with socket.socket(fileno=os.dup(sock.fileno())) as tcp:
        return tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def will(root: str) -> Publication:
    return Publication(f"{root}/will", b"lost", retain=True)
