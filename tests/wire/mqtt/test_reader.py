"""Our own reading, beside paho's: the same bytes, cut anywhere, end in the same."""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence, Tuple
from unittest import mock

import paho.mqtt.client as mqtt
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.harness import wait_for
from tests.wire.mqtt.ends import IN_FLIGHT, End, Events, bare_client, connected, made_of
from tests.wire.mqtt.members import Member
from tests.wire.servers import Server, server_tls
from wire.mqtt import reader
from wire.mqtt.insides import fits, received_attribute
from wire.mqtt.publish_properties import MOST, PublishProperties, variable_byte_integer


def compare(chunks: Sequence[bytes]) -> Events:
    events, sent = made_of(chunks, own=True)
    by_paho, sent_by_paho = made_of(chunks, own=False)
    assert events == by_paho
    assert sent == sent_by_paho
    return events


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + variable_byte_integer(len(body)) + body


def publish(qos: int, topic: bytes, mid: int, properties: bytes, payload: bytes, flags: int = 0) -> bytes:
    packet_id = struct.pack("!H", mid) if qos else b""
    body = struct.pack("!H", len(topic)) + topic + packet_id + properties + payload
    return packet(0x30 | qos << 1 | flags, body)


texts = st.text(max_size=8)
properties = st.one_of(
    st.just(b"\0"),
    st.builds(
        lambda pairs, data, topic, expiry: PublishProperties(pairs, data, topic, None, expiry).pack(),
        *(st.lists(st.tuples(texts | st.just("frame-id"), texts), max_size=3), st.none() | st.binary()),
        *(st.none() | texts, st.none() | st.integers(0, 99)),
    ),
    st.sampled_from(
        [b"\x03\x23\0\x01", b"\x02\x01\x01", b"\x80\0", b"\x81\x80\x80\x80\0", b"\xff\xff\xff\xff"]
    ),
    st.binary(min_size=1, max_size=9),
)
mids = st.integers(0, IN_FLIGHT + 1) | st.integers(0, 65535)
topics = st.sampled_from([b"a/b", b"", b"\xff", b"a\0b"]) | st.binary(max_size=5)
publishes = st.builds(
    publish,
    *(st.integers(0, 3), topics, mids, properties, st.binary(max_size=40)),
    flags=st.sampled_from([0, 1, 8, 9]),
)
pubacks = st.builds(
    lambda mid, rest: packet(0x40, struct.pack("!H", mid) + rest),
    mids,
    st.sampled_from([b"", b"\0", b"\x10", b"\x95", b"\xff", b"\0\0", b"\0\x05\x1f\0\x02ok", b"\0\x09\x1f"])
    | st.binary(max_size=6),
)
pubrels = st.builds(lambda mid: packet(0x62, struct.pack("!H", mid)), mids)
#: PUBREC and PUBCOMP, by which paho confirms publications of QoS 1, too; of a zero that comes alone it waits
#: for another first byte.
not_alike = {0, *range(0x50, 0x60), *range(0x70, 0x80)}
firsts = st.integers(0, 255).filter(lambda first: first not in not_alike)
others = st.builds(packet, firsts, st.binary(max_size=12))
pings = st.just(b"\xd0\0")


def first_bytes(stream: bytes) -> Iterator[int]:
    """Those of its packets."""
    while stream:
        yield stream[0]
        length, shift, at = 0, 0, 1
        while at < len(stream):
            length |= (stream[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if stream[at - 1] < 0x80:
                break
        stream = stream[at + length :]


@st.composite
def streams(draw: Any) -> List[bytes]:
    """Packets, some of them damaged, cut anywhere."""
    kinds = publishes | pubacks | pubrels | pings | publishes | pubacks | others
    whole = bytearray(b"".join(draw(st.lists(kinds, max_size=12))))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        if whole:
            whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    assume(not_alike.isdisjoint(first_bytes(bytes(whole))))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [bytes(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)])]


@settings(max_examples=400, deadline=None)
@given(streams(), st.sampled_from([(reader.BUFFER, 64), (16, 1), (16, 3), (64, 64)]))
@example([b"\x30", b"\xff\xff\xff\xff\x01"], (16, 3))
@example([b"\x32\x05\0\x01a\0\x01"], (16, 3))
@example([b"\x36\x06\0\x01a\0\x01\0"], (16, 3))
@example([packet(0x32, b"\xff\xff")], (16, 3))
def test_what_comes_of_bytes_is_what_paho_makes_of_them(chunks: List[bytes], size: Tuple[int, int]) -> None:
    with mock.patch.multiple(reader, BUFFER=size[0], KEPT_BUFFER=2 * size[0], MOST_AT_ONCE=size[1]):
        compare(chunks)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0, 100, 70_000, 300_000, 1_500_000]), min_size=1, max_size=4), st.booleans())
def test_large_packets_are_read_whole_however_they_come(sizes: List[int], split: bool) -> None:
    stream = b"".join(publish(1, b"a", n, b"\0", bytes(size)) for n, size in enumerate(sizes))
    events = compare([stream[:70_001], stream[70_001:70_002], stream[70_002:]] if split else [stream])
    assert [len(event[1].payload) for event in events if event[0] == "delivery"] == sizes  # type: ignore[attr-defined]


def test_more_properties_than_are_read() -> None:
    pairs = PublishProperties([("", "")] * (MOST // 5 + 1)).pack()
    ((kind, delivery), _) = compare([publish(1, b"a", 1, pairs, b"payload")])
    assert (kind, delivery.payload, delivery.user_properties) == ("delivery", b"payload", {})  # type: ignore[attr-defined]


def test_nothing_but_a_puback_confirms_a_publication() -> None:
    """Paho takes a PUBCOMP for one, too."""
    stream = packet(0x50, b"\0\x01") + packet(0x70, b"\0\x01") + packet(0x40, b"\0\x02\x10")
    events, _ = made_of([stream], own=True)
    assert events[0] == ("puback", 1, 0x10)
    assert len(events) == 2


def test_a_length_alone_takes_no_memory_and_a_large_packets_is_given_back() -> None:
    payload = bytes(8_000_000)
    with connected(own=True) as (end, far):
        tracemalloc.start()
        far.sendall(b"\x32\xff\xff\xff\x7f" + bytes(50_000))
        end.read()
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 1_000_000
        tracemalloc.stop()
    with connected(own=True) as (end, far):
        stream = publish(1, b"a", 1, b"\0", payload) + publish(1, b"a", 2, b"\0", b"")
        for at in range(0, len(stream), 100_000):
            far.sendall(stream[at : at + 100_000])
            end.read()
        assert [len(event[1].payload) for event in end.events] == [8_000_000, 0]  # type: ignore[attr-defined]
        end.events.clear()
        far.sendall(publish(0, b"a", 0, b"\0", b""))
        end.read()
        assert len(end.io._buffer) == reader.BUFFER  # type: ignore[attr-defined]


def test_a_large_packets_memory_is_given_back_also_where_more_begins_with_each_read() -> None:
    small = publish(0, b"a", 0, b"\0", b"small")
    with connected(own=True) as (end, far):
        stream = publish(0, b"a", 0, b"\0", bytes(8_000_000)) + small[:5]
        for at in range(0, len(stream), 50_000):
            far.sendall(stream[at : at + 50_000])
            end.read()
        for _ in range(2):
            far.sendall(small[5:] + small[:5])
            end.read()
        assert len(end.io._buffer) == reader.BUFFER  # type: ignore[attr-defined]
        assert [len(event[1].payload) for event in end.events] == [8_000_000, 5, 5]  # type: ignore[attr-defined]


def test_what_paho_reads_ends_with_its_packet_not_with_the_connection(certificates: Path) -> None:
    """It reads more than one packet while it knows of messages of QoS 2; over TLS the end may be known."""
    near, far = socket.socketpair()
    trusting = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with near, far, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server_tls(certificates).wrap_socket, far, server_side=True)
        with trusting.wrap_socket(near, server_hostname="localhost") as ours, accepted.result() as theirs:
            end = End(ours, own=True)
            theirs.sendall(
                b"".join(publish(qos, b"a", mid, b"\0", b"") for mid, qos in enumerate((2, 2, 2, 1)))
            )
            theirs.shutdown(socket.SHUT_WR)
            end.read()
    assert [event[0] for event in end.events] == ["delivery", "lost"]


def test_nothing_of_a_lost_connection_is_read_on_the_next() -> None:
    with connected(own=True) as (end, far), connected(own=True) as (_, next_far):
        far.sendall(publish(1, b"a", 1, b"\0", b"lost")[:-1])
        end.read()
        near, next_far = socket.socketpair()
        with near, next_far:
            near.setblocking(False)
            end.client._sock = near
            end.io.begin()
            next_far.sendall(publish(1, b"a", 1, b"\0", b"next"))
            end.read()
            assert [event[1].payload for event in end.events] == [b"next"]  # type: ignore[attr-defined]


def test_whatever_comes_shows_paho_that_the_broker_is_alive() -> None:
    for own in (True, False):
        with connected(own=own) as (end, far):
            name = received_attribute(end.client)
            setattr(end.client, name, 0.0)
            far.sendall(b"\x32\x06")
            end.read()
            if own:  # by paho only a part of the packet's body does, or in 2.1 the whole of it
                assert getattr(end.client, name) > 0
            far.sendall(b"\0\x01a\0\x01")
            setattr(end.client, name, 0.0)
            far.sendall(b"\0" + packet(0xD0, b""))
            end.read()
            assert getattr(end.client, name) > 0


def test_the_installed_paho_has_the_insides_that_are_used() -> None:
    """A new paho may have others, and then does all itself: see whether `insides` can name them."""
    near, far = socket.socketpair()
    with near, far:
        assert fits(bare_client(near))


def test_another_paho_reads_and_writes_alone() -> None:
    class Other(mqtt.Client):
        def _packet_read(self) -> mqtt.MQTTErrorCode:
            return super()._packet_read()

    near, far = socket.socketpair()
    with near, far:
        client = bare_client(near)
        client.__class__ = Other
        assert not fits(client)


class Flood(Server):
    """A broker that sends nothing but messages, as fast as they are taken."""

    def serve(self, client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"\x20\x03\x00\x00\x00")
        flood = publish(0, b"a", 0, b"\0", b"") * 10_000
        while True:
            client.sendall(flood)


def test_a_flood_keeps_nobody_from_being_heard(join: Callable[..., Member]) -> None:
    taken = itertools.count()
    with Flood() as broker:
        member = join(broker.url, wait=False, on_delivery=lambda delivery: next(taken))
        wait_for(lambda: next(taken) > 20_000, what="many messages")
        for _ in range(3):
            ran = threading.Event()
            member.connection.call(ran.set)
            assert ran.wait(30)
        member.connection.close()
        assert member.connection.ended.is_set()
