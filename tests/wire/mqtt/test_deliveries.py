"""Messages published, delivered and acked, by real brokers; packets that are too large."""

from __future__ import annotations

from typing import Callable, List

import pytest

from tests.fleets import Fleet
from tests.harness import Mosquitto, wait_for
from tests.wire.mqtt.members import (
    Member,
    is_without_delay,
    send,
    wait_quietly,
)
from wire.mqtt.packets import PACKET_OVERHEAD, Publication


@pytest.mark.parametrize("known", [True, False], ids=["own", "by paho"])
def test_messages_arrive_in_order_with_all_they_carry(
    known: bool, broker_url: str, root: str, join: Callable[..., Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.mqtt.reader.fits", lambda client: known)
    reader = join(broker_url, f"{root}/#")
    writer = join(broker_url)
    sent = [b"%d" % n for n in range(50)]
    codes = send(
        writer,
        f"{root}/a",
        *sent,
        user_properties=[("frame-id", "f1"), ("captured-at", "now")],
        correlation_data=b"\0\1",
        response_topic=f"{root}/back",
    )
    assert codes == [0] * 50
    received = reader.wait_received(50)
    assert [delivery.payload for delivery in received] == sent
    first = received[0]
    assert first.topic == f"{root}/a"
    assert (first.qos, first.retain, first.epoch) == (1, False, 1)
    assert first.user_properties == {"frame-id": "f1", "captured-at": "now"}
    assert (first.correlation_data, first.response_topic) == (b"\0\1", f"{root}/back")


def test_a_frame_for_nobody_is_reported(mosquitto_url: str, root: str, join: Callable[..., Member]) -> None:
    assert send(join(mosquitto_url), f"{root}/nobody", b"x") == [0x10]


def test_the_broker_learns_our_receive_maximum(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    """Until the first ack only: from then on Mosquitto 2.0.11 sends more than it may."""
    reader = join(mosquitto_url, f"{root}/#", receive_maximum=3)
    send(join(mosquitto_url), f"{root}/a", *[b"%d" % n for n in range(8)])
    reader.wait_received(3)
    assert not wait_quietly(lambda: len(reader.received) > 3)
    assert reader.ack(*reader.received) == [True, True, True]
    assert reader.wait_received(4)[3].payload == b"3"


def test_the_embedded_broker_sends_100_ahead(
    request: pytest.FixtureRequest, root: str, join: Callable[..., Member]
) -> None:
    """As its configuration says; it ignores our Receive Maximum."""
    pytest.importorskip("iotcore")
    url = request.getfixturevalue("embedded_url")
    reader = join(url, f"{root}/#", receive_maximum=3)
    send(join(url), f"{root}/a", *[b"%d" % n for n in range(120)])
    reader.wait_received(100)
    assert not wait_quietly(lambda: len(reader.received) > 100)
    reader.ack(*reader.received[:10])
    reader.wait_received(110)
    assert not wait_quietly(lambda: len(reader.received) > 110)


def test_we_keep_to_the_brokers_receive_maximum(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 4")
    reader = join(broker.url, f"{root}/#", on_delivery=lambda delivery: None)
    writer = join(broker.url)
    connection = writer.connection
    in_flight: List[int] = []

    def count(code: int) -> None:
        in_flight.append(len(connection._queue._in_flight))

    for n in range(60):
        connection.publish(Publication(f"{root}/a", b"%d" % n, on_puback=count))
    wait_for(lambda: len(in_flight) == 60, what="60 PUBACKs")
    # The one that was just confirmed has left already.
    assert max(in_flight) == 3
    assert reader.connection.connected.is_set()
    assert broker.log.read_text().count("disconnected due to") == 0


def test_small_packets_do_not_wait_for_each_other(mosquitto_url: str, join: Callable[..., Member]) -> None:
    member = join(mosquitto_url)
    assert is_without_delay(member)
    member.break_connection()
    wait_for(member.connection.connected.is_set, what="connected again")
    assert is_without_delay(member)


def test_a_message_at_qos_0_needs_no_ack(
    mosquitto_url: str, root: str, join: Callable[..., Member], fleet: Fleet
) -> None:
    reader = join(mosquitto_url, f"{root}/#")
    fleet.listen("none").client.publish(f"{root}/a", b"x", qos=0)
    (delivery,) = reader.wait_received(1)
    assert delivery.qos == 0
    assert reader.ack(delivery) == [True]


def test_a_packet_that_is_too_large_is_reported_and_harmless(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto("allow_anonymous true", "max_packet_size 20000")
    reader = join(broker.url, f"{root}/#")
    writer = join(broker.url)
    assert writer.connection.maximum_packet_size == 20000
    fits = 20000 - PACKET_OVERHEAD - len(f"{root}/a")
    assert sorted(send(writer, f"{root}/a", bytes(fits + 1), bytes(fits))) == [0, 0x95]
    assert [len(d.payload) for d in reader.wait_received(1)] == [fits]
    assert (writer.losses, writer.connection.reconnects) == (0, 0)


def test_a_packet_published_before_the_limit_is_known(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto("allow_anonymous true", "max_packet_size 20000")
    writer = Member(broker.url)
    codes: List[int] = []
    for payload in (bytes(50_000), b"small"):
        writer.connection.publish(Publication(f"{root}/a", payload, on_puback=codes.append))
    with writer.connection:
        wait_for(lambda: len(codes) == 2, what="both reason codes")
        assert codes == [0x95, 0x10]
        assert writer.losses == 0


def test_a_large_packet_goes_through(broker_url: str, root: str, join: Callable[..., Member]) -> None:
    reader = join(broker_url, f"{root}/#")
    payload = bytes(range(256)) * 20_000
    send(join(broker_url), f"{root}/a", payload)
    assert reader.wait_received(1)[0].payload == payload
