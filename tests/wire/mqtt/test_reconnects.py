"""Sessions and reconnects: brokers that come, go, restart and refuse later."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from pathlib import Path
from typing import Callable, List

import pytest

from tests.harness import Mosquitto, wait_for
from tests.wire.mqtt.members import (
    NEVER,
    Member,
    send,
    wait_quietly,
)
from tests.wire.servers import ForgetfulBroker, answering
from wire.mqtt import reader
from wire.mqtt.packets import Delivery, Publication


def test_what_was_not_acked_comes_again(broker_url: str, root: str, join: Callable[..., Member]) -> None:
    reader = join(broker_url, f"{root}/#", session_expiry=60)
    send(join(broker_url), f"{root}/a", b"1", b"2", b"3")
    first = reader.wait_received(3)
    assert reader.ack(first[0]) == [True]
    reader.wait_subscribed()
    reader.break_connection()
    again = reader.wait_received(5)[3:]
    assert [delivery.payload for delivery in again] == [b"2", b"3"]
    assert reader.sessions == [False, True]
    assert reader.connection.reconnects == 1
    assert [delivery.epoch for delivery in again] == [2, 2]
    # An ack with a packet id of the old connection would hit another frame on the new one.
    assert reader.ack(first[1]) == [False]
    assert reader.ack(*again) == [True, True]
    reader.wait_subscribed()
    reader.break_connection()
    wait_for(reader.connection.connected.is_set, what="connected again")
    assert not wait_quietly(lambda: len(reader.received) > 5)


def test_no_ack_while_disconnected(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto()
    reader = join(broker.url, f"{root}/#", session_expiry=60)
    send(join(broker.url), f"{root}/a", b"1")
    (delivery,) = reader.wait_received(1)
    broker.stop()
    wait_for(lambda: reader.losses == 1, what="on_lost")
    assert reader.ack(delivery) == [False]


def test_a_new_process_finds_the_session(mosquitto_url: str, root: str, join: Callable[..., Member]) -> None:
    name = f"{root}-reader"
    writer = join(mosquitto_url)
    with Member(mosquitto_url, f"{root}/#", client_id=name, session_expiry=60).connection as before:
        before.wait_connected(NEVER)
        wait_for(lambda: send(writer, f"{root}/probe", b"") == [0], what="subscribed")
    assert send(writer, f"{root}/a", b"while away") == [0]
    after = join(mosquitto_url, f"{root}/#", client_id=name, session_expiry=60)
    assert after.sessions == [True]
    wait_for(lambda: b"while away" in after.payloads(), what="the frame that waited")
    after.connection.close(session_expiry=0)
    wait_for(lambda: send(writer, f"{root}/a", b"x") == [0x10], what="the session to end")


def test_a_broker_that_restarts_gets_what_was_published_meanwhile(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    broker = mosquitto(
        "allow_anonymous true", "persistence true", f"persistence_location {state}/", "user root"
    )
    received: List[bytes] = []

    def take(delivery: Delivery) -> None:
        received.append(delivery.payload)
        reader.connection.ack(delivery)

    reader = join(broker.url, f"{root}/#", session_expiry=60, on_delivery=take)
    writer = join(broker.url, session_expiry=60)
    send(writer, f"{root}/a", b"before")
    broker.stop()
    wait_for(lambda: writer.losses == 1 and reader.losses == 1, what="on_lost")
    codes: List[int] = []
    for n in range(20):
        writer.connection.publish(Publication(f"{root}/a", b"%d" % n, on_puback=codes.append))
    assert not wait_quietly(lambda: bool(codes), 0.2)
    broker.start()
    wait_for(lambda: len(codes) == 20, what="20 PUBACKs")
    wait_for(lambda: len(received) == 21, what="21 messages")
    assert received == [b"before", *[b"%d" % n for n in range(20)]]
    assert writer.connection.reconnects >= 1


@pytest.mark.parametrize("known", [True, False], ids=["own", "by paho"])
def test_what_was_in_flight_is_sent_again(
    known: bool, join: Callable[..., Member], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that takes a frame and dies before its PUBACK."""
    monkeypatch.setattr(reader, "fits", lambda client: known)
    with ForgetfulBroker() as broker:
        writer = join(broker.url, wait=False)
        codes: List[int] = []
        ticks = itertools.count(1)
        frame = Publication(
            *(f"{root}/a", b"precious"), stamps=lambda: [("try", f"{next(ticks)}")], on_puback=codes.append
        )
        writer.connection.publish(frame)
        wait_for(lambda: len(broker.published) == 2, what="the frame, twice")
        wait_for(lambda: codes == [0], what="one PUBACK")
        assert all(b"precious" in packet for packet in broker.published)
        assert [b"\x03try\x00\x01%d" % number in broker.published[number - 1] for number in (1, 2)] == [
            True
        ] * 2
        assert writer.losses == 1
        assert isinstance(writer.connection._io, reader.Reader) == known


def test_unsubscribing_holds_across_a_reconnect(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto()
    reader = join(broker.url, f"{root}/#", session_expiry=60)
    writer = join(broker.url)
    assert send(writer, f"{root}/a", b"x") == [0]
    reader.break_connection()
    reader.connection.unsubscribe([f"{root}/#"])
    assert reader.connection.unsubscribed.wait(60)
    assert reader.sessions == [False, True]
    assert send(writer, f"{root}/a", b"y") == [0x10]


def test_subscribing_again_holds_across_a_reconnect(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(broker_url, f"{root}/#", session_expiry=60)
    writer = join(broker_url)
    reader.connection.unsubscribe([f"{root}/#"])
    assert reader.connection.unsubscribed.wait(60)
    send(writer, f"{root}/a", b"while away")
    reader.connection.subscribe([f"{root}/#"])
    reader.wait_subscribed()
    send(writer, f"{root}/a", b"back")
    reader.wait_received(1)
    reader.break_connection()
    wait_for(reader.connection.connected.is_set, what="connected again")
    reader.wait_subscribed()
    send(writer, f"{root}/a", b"and again")
    wait_for(lambda: reader.payloads()[-1:] == [b"and again"], what="the last one")
    assert set(reader.payloads()) == {b"back", b"and again"}


def test_subscribing_as_the_connection_is_lost_waits_for_the_next(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(mosquitto_url, f"{root}/a")
    connection = reader.connection
    connection.unsubscribe([f"{root}/a"])
    assert connection.unsubscribed.wait(60)

    def lose_the_connection() -> None:
        sock = connection._client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)
        connection._io.read()

    both_are_posted = threading.Event()
    connection.call(lambda: both_are_posted.wait(60) and None)
    connection.call(lose_the_connection)
    connection.subscribe([f"{root}/a"])
    both_are_posted.set()
    wait_for(lambda: len(reader.sessions) == 2 or connection.failure, what="the next connection")
    connection.check()
    reader.wait_subscribed()
    send(join(mosquitto_url), f"{root}/a", b"received")
    reader.wait_received(1)


def test_a_broker_that_is_not_there_yet_is_waited_for_with_a_warning(
    mosquitto: Callable[..., Mosquitto], join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto()
    broker.stop()
    with caplog.at_level(logging.WARNING):
        member = join(broker.url, wait=False)
        wait_for(lambda: "cannot reach" in caplog.text, what="a warning")
    assert f"cannot reach {broker.url}: " in caplog.text
    assert "trying again in 1 s" in caplog.text
    broker.start()
    assert member.connection.wait_connected(NEVER)
    assert member.connection.reconnects == 0
    assert member.losses == 0


def test_a_broker_that_refuses_later_is_retried(
    mosquitto: Callable[..., Mosquitto], join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody edits the broker's password file: a worker must come back when it is right again."""
    broker = mosquitto()
    open_config = broker.config.read_text()
    member = join(broker.url)
    broker.stop()
    broker.config.write_text(open_config.replace("allow_anonymous true", "allow_anonymous false"))
    with caplog.at_level(logging.WARNING):
        broker.start()
        wait_for(lambda: "refused: not authorised" in caplog.text, what="a warning")
    broker.stop()
    broker.config.write_text(open_config)
    broker.start()
    assert member.connection.wait_connected(NEVER)
    assert member.connection.failure is None


def test_a_host_name_that_does_not_exist_is_retried(
    join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        join("mqtt://nowhere.invalid", wait=False)
        wait_for(lambda: "cannot reach mqtt://nowhere.invalid:1883" in caplog.text, what="a warning")


def test_what_is_no_broker_is_retried_with_a_hint(
    join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, caplog.at_level(logging.WARNING):
        join(f"mqtt://127.0.0.1:{port}", wait=False)
        wait_for(lambda: "is this the broker's MQTT port?" in caplog.text, what="a hint")
