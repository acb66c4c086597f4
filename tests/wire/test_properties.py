"""Properties of a PUBLISH: what nanofleet reads and writes is what paho alone would."""

from __future__ import annotations

import struct
from typing import Any, Dict, List, Optional, Tuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MQTTException, Properties

from wire import properties
from wire.properties import PublishProperties

PAYLOAD = b"\xff\xd8 and so on"
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=40)
pairs = st.lists(st.tuples(texts, texts), max_size=5)

#: What paho takes for a malformed packet.
MALFORMED = (struct.error, IndexError, KeyError, ValueError, MQTTException)


def read(unpack: Any, packet: bytes) -> Optional[Dict[str, Any]]:
    """What is found and where it ends; None for a malformed packet."""
    found = Properties(PacketTypes.PUBLISH)
    try:
        _, end = unpack(found, packet)
    except MALFORMED:
        return None
    tables = ("packetType", "types", "names", "properties")
    return {"end": end, **{name: value for name, value in vars(found).items() if name not in tables}}


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


@given(pairs, st.none() | st.binary(max_size=300), st.none() | texts)
def test_written_as_paho_would(
    user: List[Tuple[str, str]], correlation_data: Optional[bytes], response_topic: Optional[str]
) -> None:
    assert PublishProperties(user, correlation_data, response_topic).pack() == bytes(
        by_paho(user, correlation_data, response_topic).pack()
    )


@given(pairs, st.none() | st.binary(max_size=300), st.none() | texts)
def test_read_as_paho_would(
    user: List[Tuple[str, str]], correlation_data: Optional[bytes], response_topic: Optional[str]
) -> None:
    packet = PublishProperties(user, correlation_data, response_topic).pack() + PAYLOAD
    found = read(Properties.unpack, packet)
    assert found == read(properties._paho_unpack, packet)
    assert found
    assert found["end"] == len(packet) - len(PAYLOAD)
    assert found.get("UserProperty", []) == user


@given(pairs, st.data())
def test_damaged_ones_are_read_or_refused_as_paho_would(user: List[Tuple[str, str]], data: Any) -> None:
    packet = bytearray(PublishProperties(user).pack() + PAYLOAD)
    for _ in range(data.draw(st.integers(1, 3))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    assert read(Properties.unpack, bytes(packet)) == read(properties._paho_unpack, bytes(packet))


@given(st.binary(max_size=40))
@example(b"")
@example(b"\xff\xff\xff\xff\x7f")
@example(b"\x05\x26\x00")
def test_anything_is_read_or_refused_as_paho_would(packet: bytes) -> None:
    assert read(Properties.unpack, packet) == read(properties._paho_unpack, packet)


@pytest.mark.parametrize("character", ["\0", "\ufeff"])
def test_what_no_string_may_hold_is_refused(character: str) -> None:
    packet = PublishProperties([("frame-id", f"a{character}b")]).pack() + PAYLOAD
    assert read(Properties.unpack, packet) is None


def test_nobody_shares_what_is_in_them() -> None:
    one, other = Properties(PacketTypes.PUBLISH), Properties(PacketTypes.PUBLISH)
    one.UserProperty = ("a", "b")
    assert not hasattr(other, "UserProperty")
