"""Properties of a PUBLISH: what nanofleet reads and writes is what paho would, and more is not malformed."""

from __future__ import annotations

import tracemalloc
from typing import Any, Dict, List, Optional, Tuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MalformedPacket, Properties

from wire.mqtt import publish_properties as properties
from wire.mqtt.packets import Publication
from wire.mqtt.publish_properties import PublishProperties

PAYLOAD = b"\xff\xd8 and so on"
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=40)
pairs = st.lists(st.tuples(texts | st.sampled_from(properties.KEPT), texts), max_size=5)
data = st.none() | st.binary(max_size=300)
topics = st.none() | texts
#: What a Delivery has.
KEPT = ("UserProperty", "ResponseTopic", "CorrelationData")


def read(unpack: Any, packet: bytes) -> Optional[Dict[str, Any]]:
    """What is found and where it ends; None for a malformed packet."""
    found = Properties(PacketTypes.PUBLISH)
    try:
        _, end = unpack(found, packet)
    except MalformedPacket:
        return None
    return {"end": end, **{name: getattr(found, name) for name in KEPT if hasattr(found, name)}}


def by_paho(
    user: List[Tuple[str, str]], correlation_data: Optional[bytes], response_topic: Optional[str]
) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    if user:
        made.UserProperty = user
    if correlation_data is not None:
        made.CorrelationData = correlation_data
    if response_topic is not None:
        made.ResponseTopic = response_topic
    return made


@given(pairs, data, topics)
def test_written_as_paho_would(
    user: List[Tuple[str, str]], correlation_data: Optional[bytes], response_topic: Optional[str]
) -> None:
    assert PublishProperties(user, correlation_data, response_topic).pack() == bytes(
        by_paho(user, correlation_data, response_topic).pack()
    )


def test_stamps_are_made_each_time_they_are_written() -> None:
    ticks = iter("abc")
    made = PublishProperties([("id", "1")], stamps=lambda: [("at", next(ticks))])
    for tick in "abc":
        assert made.pack() == PublishProperties([("id", "1"), ("at", tick)]).pack()


def test_a_message_that_expires() -> None:
    made = Publication("t", b"", user_properties=[("label", "cat")], expiry=3600).properties()
    assert made
    found = Properties(PacketTypes.PUBLISH)
    properties._paho_unpack(found, made.pack() + PAYLOAD)  # type: ignore[no-untyped-call]
    assert (found.MessageExpiryInterval, found.UserProperty) == (3600, [("label", "cat")])
    assert Publication("t", b"", expiry=0).properties()


@given(
    pairs,
    data,
    topics,
    st.none() | st.integers(0, 1),
    st.none() | texts,
    st.none() | st.integers(1, 2**28 - 1),
)
def test_read_as_paho_would(
    user: List[Tuple[str, str]],
    correlation_data: Optional[bytes],
    response_topic: Optional[str],
    payload_format: Optional[int],
    content_type: Optional[str],
    subscription: Optional[int],
) -> None:
    made = by_paho(user, correlation_data, response_topic)
    if payload_format is not None:
        made.PayloadFormatIndicator = payload_format
        made.MessageExpiryInterval = 3600
    if content_type is not None:
        made.ContentType = content_type
    if subscription is not None:
        made.SubscriptionIdentifier = subscription
    packet = bytes(made.pack()) + PAYLOAD
    found = read(Properties.unpack, packet)
    by_its_own_way = read(properties._paho_unpack, packet)
    assert found
    assert by_its_own_way
    kept = [
        (name, value) for name, value in by_its_own_way.pop("UserProperty", []) if name in properties.KEPT
    ]
    assert found.pop("UserProperty", []) == kept
    assert found == by_its_own_way
    assert found["end"] == len(packet) - len(PAYLOAD)


@given(pairs, st.data())
def test_damaged_ones_are_read_or_malformed_and_nothing_else(user: List[Tuple[str, str]], dice: Any) -> None:
    packet = bytearray(PublishProperties(user, b"id", "r/replies/me").pack() + PAYLOAD)
    for _ in range(dice.draw(st.integers(1, 3))):
        packet[dice.draw(st.integers(0, len(packet) - 1))] = dice.draw(st.integers(0, 255))
    found = read(Properties.unpack, bytes(packet))
    assert found is None or found["end"] <= len(packet)


@given(st.binary(max_size=40))
@example(b"")
@example(b"\xff\xff\xff\xff\x7f")
@example(b"\x05\x26\x00")
@example(b"\x01\x01\x00")
@example(b"\x02\x0b\xff")
def test_anything_is_read_or_malformed_and_nothing_else(packet: bytes) -> None:
    found = read(Properties.unpack, packet)
    assert found is None or found["end"] <= len(packet)


@pytest.mark.parametrize("character", ["\0", "\ufeff", "\uffff"])
def test_no_character_is_worth_the_connection(character: str) -> None:
    """Mosquitto passes U+FEFF on, rumqttd all: a worker that hangs up gets it again, as does the next."""
    pair = ("frame-id", f"a{character}b")
    found = read(Properties.unpack, PublishProperties([pair], None, f"r{character}").pack() + PAYLOAD)
    assert found
    assert found["UserProperty"] == [pair]
    assert found["ResponseTopic"] == f"r{character}"


def test_invalid_utf8_is_replaced() -> None:
    pair = b"\x26\x00\x08frame-id\x00\x02\xed\xa0\x26\x00\x02\xff\xfe\x00\x02\xed\xa0"
    found = read(Properties.unpack, bytes([len(pair)]) + pair + PAYLOAD)
    assert found
    assert found["UserProperty"] == [("frame-id", "\ufffd\ufffd")]


def test_long_values_are_cut_and_long_response_topics_are_dropped() -> None:
    """An id or a time of that length is never valid, but a rejection should name it."""
    long = "a" * 5000
    found = read(Properties.unpack, PublishProperties([("frame-id", long)], b"1", "r/me").pack() + PAYLOAD)
    assert found
    assert found["UserProperty"] == [("frame-id", long[: properties.MOST_OF_VALUE])]
    assert (found["ResponseTopic"], found["CorrelationData"]) == ("r/me", b"1")
    for correlation_data, response_topic in ((long.encode(), "r/me"), (b"1", long)):
        found = read(
            Properties.unpack, PublishProperties([], correlation_data, response_topic).pack() + PAYLOAD
        )
        assert found is not None
        assert "ResponseTopic" not in found


def test_too_many_properties_are_not_read() -> None:
    """They take no more memory than the packet, however many there are."""
    packet = PublishProperties([("", "")] * 200_000, b"1", "r/me").pack() + PAYLOAD
    tracemalloc.start()
    found = read(Properties.unpack, packet)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"end": len(packet) - len(PAYLOAD)}
    assert peak < 10_000


def test_paho_reads_other_packets() -> None:
    made = Properties(PacketTypes.CONNACK)
    made.ReceiveMaximum = 7
    found = Properties(PacketTypes.CONNACK)
    found.unpack(bytes(made.pack()))
    assert found.ReceiveMaximum == 7


def test_properties_share_no_values() -> None:
    one, other = Properties(PacketTypes.PUBLISH), Properties(PacketTypes.PUBLISH)
    one.UserProperty = ("a", "b")
    assert not hasattr(other, "UserProperty")
