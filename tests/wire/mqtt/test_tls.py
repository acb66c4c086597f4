"""TLS and WebSockets, with and without what they need."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Callable

import pytest

from tests.harness import Mosquitto, wait_for
from tests.wire.mqtt.members import (
    PAHO_DROPS_SOCKETS,
    Member,
    is_without_delay,
    refused,
    send,
    wait_quietly,
)
from tests.wire.servers import WebSocketProxy, answering


def test_tls_with_the_ca(
    secure: Callable[..., Mosquitto], certificates: Path, root: str, join: Callable[..., Member]
) -> None:
    url = f"mqtts://localhost:{secure().port}"
    trusting = {"ca_file": certificates / "ca.pem"}
    reader = join(url, f"{root}/#", settings=trusting)
    payload = os.urandom(1_000_000)  # more than a TLS record, so bytes wait where no selector sees them
    send(join(url, settings=trusting), f"{root}/a", payload, b"small")
    assert [d.payload for d in reader.wait_received(2)] == [payload, b"small"]
    assert is_without_delay(reader)


def test_many_small_messages_and_large_ones_over_tls(
    secure: Callable[..., Mosquitto], certificates: Path, root: str, join: Callable[..., Member]
) -> None:
    """They share records, and wait for room in the socket together."""
    url = f"mqtts://localhost:{secure().port}"
    trusting = {"ca_file": certificates / "ca.pem"}
    reader = join(url, f"{root}/#", settings=trusting)
    sizes = [*range(0, 9000, 90), 2_000_000, 10, 20_000, 16_384, 300, 500_000]
    payloads = [os.urandom(size) for size in sizes]
    assert set(send(join(url, settings=trusting), f"{root}/a", *payloads)) == {0}
    assert [d.payload for d in reader.wait_received(len(sizes))] == payloads


@PAHO_DROPS_SOCKETS
def test_tls_without_the_ca(secure: Callable[..., Mosquitto]) -> None:
    text = refused(f"mqtts://localhost:{secure().port}")
    assert "certificate was not accepted" in text
    assert "--ca-file" in text


@PAHO_DROPS_SOCKETS
def test_tls_with_another_name(secure: Callable[..., Mosquitto], certificates: Path) -> None:
    text = refused(f"mqtts://127.0.0.1:{secure().port}", settings={"ca_file": certificates / "ca.pem"})
    assert "127.0.0.1" in text
    assert "the name it was made for" in text


def test_tls_with_a_client_certificate(
    secure: Callable[..., Mosquitto], certificates: Path, join: Callable[..., Member]
) -> None:
    url = f"mqtts://localhost:{secure('require_certificate true').port}"
    files = {name: certificates / path for name, path in (("ca_file", "ca.pem"), ("cert_file", "client.pem"))}
    join(url, settings={**files, "key_file": certificates / "client.key"})


@PAHO_DROPS_SOCKETS
def test_tls_to_a_port_without_it(
    mosquitto_url: str, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    member = Member(
        mosquitto_url.replace("mqtt://127.0.0.1", "mqtts://localhost"),
        settings={"ca_file": certificates / "ca.pem"},
    )
    with member.connection as connection:
        assert not wait_quietly(connection.connected.is_set, 0.5)
        wait_for(lambda: "if it speaks no TLS on this port, write mqtt://" in caplog.text, what="a hint")


def test_plain_mqtt_to_a_tls_port(
    secure: Callable[..., Mosquitto], join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        join(secure().url, wait=False)
        wait_for(lambda: "If it speaks TLS on this port, write mqtts://" in caplog.text, what="a hint")


def test_websockets(mosquitto_url: str, root: str, join: Callable[..., Member]) -> None:
    """Debian's Mosquitto is built without WebSockets, so a proxy speaks them in front of it."""
    with WebSocketProxy(mosquitto_url) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/deep/mqtt"
        reader = join(url, f"{root}/#")
        payload = os.urandom(300_000)
        send(join(url), f"{root}/a", b"small", payload, b"last")
        assert [d.payload for d in reader.wait_received(3)] == [b"small", payload, b"last"]
        assert is_without_delay(reader)
        assert set(proxy.paths) == {"/deep/mqtt"}


def test_websockets_over_tls(
    mosquitto_url: str, root: str, certificates: Path, join: Callable[..., Member]
) -> None:
    with WebSocketProxy(mosquitto_url, certificates) as proxy:
        url = f"wss://localhost:{proxy.port}"
        trusting = {"ca_file": certificates / "ca.pem"}
        reader = join(url, f"{root}/#", settings=trusting)
        payload = os.urandom(300_000)
        send(join(url, settings=trusting), f"{root}/a", payload, b"last")
        assert [d.payload for d in reader.wait_received(2)] == [payload, b"last"]
        assert set(proxy.paths) == {"/mqtt"}


@PAHO_DROPS_SOCKETS
def test_what_is_no_websocket(
    mosquitto_url: str, join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port:
        with caplog.at_level(logging.WARNING):
            join(f"ws://127.0.0.1:{port}", wait=False)
            wait_for(lambda: "cannot reach ws://127.0.0.1" in caplog.text, what="a warning")
        assert "WebSocket" in caplog.text
