"""Publications in flight: their packets, their ids, and what is sent again on the next connection."""

from __future__ import annotations

import socket
import struct
from typing import Iterator, List, Tuple

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.wire.mqtt.ends import bare_client, queued
from wire.mqtt.packet_ids import skip_used_ids
from wire.mqtt.packets import Publication
from wire.mqtt.publish_queue import PublishQueue

texts = st.text(max_size=20)


@pytest.fixture
def client() -> Iterator[mqtt.Client]:
    near, far = socket.socketpair()
    with near, far:
        yield bare_client(near)


def connack(**values: int) -> Properties:
    properties = Properties(PacketTypes.CONNACK)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def publications(client: mqtt.Client) -> List[Tuple[bool, int, bytes]]:
    """DUP, packet id and payload of what is queued on topic "t" without properties, which is then sent."""
    stream, found = queued(client), []
    client._out_packet.clear()
    while stream:
        length = stream[1]
        mid, payload = struct.unpack_from("!H", stream, 5)[0], stream[8 : 2 + length]
        found.append((stream[0] & 8 != 0, mid, payload))
        stream = stream[2 + length :]
    return found


def puback(queue: PublishQueue, mid: int, code: int = 0) -> None:
    assert queue.receive_puback(memoryview(struct.pack("!HB", mid, code)))


def start(client: mqtt.Client, count: int) -> Tuple[PublishQueue, List[Tuple[int, int]]]:
    """So many publications in flight; with a record of their number and reason code."""
    queue, codes = PublishQueue(client, by_paho=False), []  # type: Tuple[PublishQueue, List[Tuple[int, int]]]
    queue.begin()
    queue.connected(None)
    for number in range(count):
        queue.put(Publication("t", b"%d" % number, on_puback=lambda code, n=number: codes.append((n, code))))  # type: ignore[misc]
    queue.pump()
    return queue, codes


@given(
    st.builds(
        Publication,
        topic=st.text(
            st.characters(exclude_characters="+#", exclude_categories=["Cs"]), min_size=1, max_size=9
        ),
        payload=st.binary(max_size=300),
        retain=st.booleans(),
        user_properties=st.lists(st.tuples(texts, texts), max_size=12),
        correlation_data=st.none() | st.binary(max_size=9),
        response_topic=st.none() | texts,
        stamps=st.none() | st.just(lambda: [("at", "noon")]),
        expiry=st.none() | st.integers(0, 9999),
    )
)
def test_packets_are_those_that_paho_makes(publication: Publication) -> None:
    near, far = socket.socketpair()
    with near, far:
        made = []
        for by_paho in (True, False):
            client = bare_client(near)
            queue = PublishQueue(client, by_paho=by_paho)
            queue.put(publication)
            queue.pump()
            made.append(queued(client))
    assert made[0] == made[1]


@pytest.mark.parametrize("topic", ["a/+", "#"])
def test_a_topic_that_the_broker_would_hang_up_on_is_a_defect(topic: str, client: mqtt.Client) -> None:
    queue, _ = start(client, 0)
    queue.put(Publication(topic, b""))
    with pytest.raises(ValueError, match="wildcards"):
        queue.pump()


def test_what_was_in_flight_comes_first_again_by_the_same_ids(client: mqtt.Client) -> None:
    queue, codes = start(client, 4)
    assert publications(client) == [(False, mid, b"%d" % (mid - 1)) for mid in (1, 2, 3, 4)]
    puback(queue, 2)
    queue.begin()
    queue.put(Publication("t", b"new"))
    queue.connected(None)
    queue.pump()
    assert publications(client) == [(True, 1, b"0"), (True, 3, b"2"), (True, 4, b"3"), (False, 5, b"new")]
    for mid in (1, 3, 4):
        puback(queue, mid)
    assert codes == [(1, 0), (0, 0), (2, 0), (3, 0)]


def test_what_is_sent_again_keeps_to_the_brokers_present_limits(client: mqtt.Client) -> None:
    queue, codes = start(client, 5)
    publications(client)
    queue.begin()
    queue.connected(connack(ReceiveMaximum=2))
    queue.pump()
    assert publications(client) == [(True, 1, b"0"), (True, 2, b"1")]
    puback(queue, 1)
    queue.pump()
    assert publications(client) == [(True, 3, b"2")]
    queue.begin()  # lost again: in the order in which they were published
    queue.connected(None)
    queue.pump()
    assert [mid for _, mid, _ in publications(client)] == [2, 3, 4, 5]
    queue.begin()
    queue.connected(connack(MaximumPacketSize=100))
    queue.pump()
    assert publications(client) == []
    assert codes == [(0, 0), (1, 0x95), (2, 0x95), (3, 0x95), (4, 0x95)]


def test_a_puback_counts_only_on_the_connection_that_the_packet_went_out_on(client: mqtt.Client) -> None:
    queue, codes = start(client, 1)
    queue.begin()
    puback(queue, 1)  # before the CONNACK, say
    assert codes == []
    queue.connected(None)
    queue.pump()
    puback(queue, 1)
    puback(queue, 1)  # a second one confirms nothing
    assert codes == [(0, 0)]


def test_an_id_that_is_in_flight_is_not_taken_again(client: mqtt.Client) -> None:
    queue, codes = start(client, 2)
    skip_used_ids(client, queue.uses)
    publications(client)
    client._last_mid = 65535
    for payload in (b"a", b"b"):
        queue.put(Publication("t", payload))
    queue.pump()
    assert publications(client) == [(False, 3, b"a"), (False, 4, b"b")]
    puback(queue, 1)
    assert codes == [(0, 0)]


def test_however_much_is_in_flight_there_are_ids_left_to_subscribe_by(client: mqtt.Client) -> None:
    queue, _ = start(client, 65_535)
    assert sum(queue.uses(mid) for mid in range(65_536)) < 65_500


def test_a_stamp_is_made_at_each_send(client: mqtt.Client) -> None:
    ticks = iter("ab")
    queue, _ = start(client, 0)
    queue.put(Publication("t", b"", stamps=lambda: [("at", next(ticks))]))
    for tick in (b"a", b"b"):
        queue.begin()
        queue.connected(None)
        queue.pump()
        assert queued(client).endswith(b"\x26\0\x02at\0\x01" + tick)


def test_a_payload_is_not_copied(client: mqtt.Client) -> None:
    queue, _ = start(client, 0)
    payload = bytes(100_000)
    queue.put(Publication("t", payload))
    queue.pump()
    assert client._out_packet[-1]["packet"] is payload
