"""The connection, against real brokers that come, go, refuse and change their minds."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import paho.mqtt
import pytest

from fleet.ports import free_port
from tests.fleets import Fleet
from tests.harness import Mosquitto, need, wait_for
from tests.wire.servers import ForgetfulBroker, WebSocketProxy, answering
from wire.broker import BrokerSettings
from wire.errors import ConnectionRefused, DuplicateMember, NanofleetError
from wire.mqtt.connection import Connection
from wire.mqtt.packets import PACKET_OVERHEAD, Delivery, Publication
from wire.mqtt.publish_queue import HandlerFailed

NEVER = threading.Event()

#: paho drops the socket of a handshake that failed, and leaves it to the garbage collector to close it.
PAHO_DROPS_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def _own_garbage() -> Iterator[None]:
    """A socket that a test left open is that test's fault, not that of the next one."""
    yield
    gc.collect()


class Member:
    """A connection that writes down what it hears. It acks nothing by itself."""

    def __init__(self, url: str, *subscriptions: str, **options: Any) -> None:
        settings = options.pop("settings", {})
        self.heard: List[Delivery] = []
        self.sessions: List[bool] = []
        self.losses = 0
        self.failures: List[BaseException] = []
        self.connection = Connection(
            BrokerSettings(broker=url, **settings).open_broker(),
            options.pop("client_id", f"test-{uuid.uuid4().hex}"),
            on_delivery=options.pop("on_delivery", self.heard.append),
            on_connected=self.sessions.append,
            on_lost=self._lost,
            on_failure=self.failures.append,
            subscriptions=dict.fromkeys(subscriptions, 1),
            **options,
        )

    def _lost(self) -> None:
        self.losses += 1

    def payloads(self) -> List[bytes]:
        return [delivery.payload for delivery in list(self.heard)]

    def wait_heard(self, count: int) -> List[Delivery]:
        wait_for(lambda: len(self.heard) >= count, 10, f"{count} messages")
        return list(self.heard)

    def ack(self, *deliveries: Delivery) -> List[bool]:
        """Ack in the network thread, as it must be."""
        answers: List[bool] = []
        for delivery in deliveries:
            self.connection.call(lambda delivery=delivery: answers.append(self.connection.ack(delivery)))  # type: ignore[misc]
        wait_for(lambda: len(answers) == len(deliveries), 10, "acks")
        return answers

    def wait_subscribed(self) -> None:
        """What was posted before this has been sent, and mosquitto answers in order."""
        done: List[int] = []
        self.connection.publish(Publication(f"probe/{uuid.uuid4().hex}", b"", on_puback=done.append))
        wait_for(lambda: done, 10, "PUBACK")

    def break_line(self) -> None:
        """Lose the connection as a broken cable does: no DISCONNECT."""
        before = self.losses

        def shut() -> None:
            sock = self.connection._client.socket()
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)

        self.connection.call(shut)
        wait_for(lambda: self.losses > before, 10, "on_lost")


@pytest.fixture
def join() -> Iterator[Callable[..., Member]]:
    """Connect members that leave with the test, and end their sessions."""
    members: List[Member] = []

    def connect(url: str, *subscriptions: str, wait: bool = True, **options: Any) -> Member:
        member = Member(url, *subscriptions, **options)
        members.append(member)
        member.connection.__enter__()
        if wait:
            assert member.connection.wait_connected(NEVER)
            member.wait_subscribed()
        return member

    yield connect
    for member in members:
        member.connection.close(session_expiry=0)
        assert member.connection.ended.wait(5), "the network thread has not ended"


def send(sender: Member, topic: str, *payloads: bytes, **options: Any) -> List[int]:
    """Publish, and wait for the reason codes."""
    codes: List[int] = []
    for payload in payloads:
        sender.connection.publish(Publication(topic, payload, on_puback=codes.append, **options))
    wait_for(lambda: len(codes) == len(payloads), 20, f"{len(payloads)} PUBACKs")
    return codes


def refused(url: str, **options: Any) -> str:
    """Connect where it must fail for good; returns what the user is told."""
    member = Member(url, **options)
    with pytest.raises(ConnectionRefused) as caught, member.connection as connection:
        connection.wait_connected(threading.Event())
    assert member.failures == [caught.value]
    assert caught.value.exit_code == 3
    assert not connection.connected.is_set()
    return str(caught.value)


# --- publish, deliver, ack ----------------------------------------------------------------------------


def test_messages_arrive_in_order_with_all_they_carry(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
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
    heard = reader.wait_heard(50)
    assert [delivery.payload for delivery in heard] == sent
    first = heard[0]
    assert first.topic == f"{root}/a"
    assert (first.qos, first.retain, first.epoch) == (1, False, 1)
    assert first.user_properties == {"frame-id": "f1", "captured-at": "now"}
    assert (first.correlation_data, first.response_topic) == (b"\0\1", f"{root}/back")


def test_a_frame_for_nobody_is_told(mosquitto_url: str, root: str, join: Callable[..., Member]) -> None:
    assert send(join(mosquitto_url), f"{root}/nobody", b"x") == [0x10]


def test_the_broker_is_told_our_receive_maximum(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    """Until the first ack only: from then on Mosquitto 2.0.11 sends more than it may."""
    reader = join(mosquitto_url, f"{root}/#", receive_maximum=3)
    send(join(mosquitto_url), f"{root}/a", *[b"%d" % n for n in range(8)])
    reader.wait_heard(3)
    assert not wait_quietly(lambda: len(reader.heard) > 3)
    assert reader.ack(*reader.heard) == [True, True, True]
    assert reader.wait_heard(4)[3].payload == b"3"


def test_the_embedded_broker_sends_100_ahead(
    request: pytest.FixtureRequest, root: str, join: Callable[..., Member]
) -> None:
    """As its configuration says; it does not look at our Receive Maximum."""
    pytest.importorskip("iotcore")
    url = request.getfixturevalue("embedded_url")
    reader = join(url, f"{root}/#", receive_maximum=3)
    send(join(url), f"{root}/a", *[b"%d" % n for n in range(120)])
    reader.wait_heard(100)
    assert not wait_quietly(lambda: len(reader.heard) > 100)
    reader.ack(*reader.heard[:10])
    reader.wait_heard(110)
    assert not wait_quietly(lambda: len(reader.heard) > 110)


def wait_quietly(condition: Callable[[], bool], seconds: float = 0.4) -> bool:
    """Whether something that must not happen does so within a moment."""
    deadline = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return True
        deadline.wait(0.02)
    return False


def test_we_keep_to_the_brokers_receive_maximum(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 4")
    reader = join(broker.url, f"{root}/#", on_delivery=lambda delivery: None)
    writer = join(broker.url)
    connection = writer.connection
    in_flight: List[int] = []

    def count(code: int) -> None:
        in_flight.append(len(connection._outgoing))

    for n in range(60):
        connection.publish(Publication(f"{root}/a", b"%d" % n, on_puback=count))
    wait_for(lambda: len(in_flight) == 60, 20, "60 PUBACKs")
    # The one that was just confirmed has left already.
    assert max(in_flight) == 3
    assert reader.connection.connected.is_set()
    assert broker.log.read_text().count("disconnected due to") == 0


def has_no_delay(member: Member) -> bool:
    sock = member.connection._client.socket()
    assert sock is not None
    with socket.socket(fileno=os.dup(sock.fileno())) as line:
        return line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_small_packets_do_not_wait_for_each_other(mosquitto_url: str, join: Callable[..., Member]) -> None:
    member = join(mosquitto_url)
    assert has_no_delay(member)
    member.break_line()
    wait_for(member.connection.connected.is_set, 10, "connected again")
    assert has_no_delay(member)


def test_a_message_at_qos_0_needs_no_ack(
    mosquitto_url: str, root: str, join: Callable[..., Member], fleet: Fleet
) -> None:
    reader = join(mosquitto_url, f"{root}/#")
    fleet.listen("none").client.publish(f"{root}/a", b"x", qos=0)
    (delivery,) = reader.wait_heard(1)
    assert delivery.qos == 0
    assert reader.ack(delivery) == [True]


# --- sessions and reconnects --------------------------------------------------------------------------


def test_what_was_not_acked_comes_again(broker_url: str, root: str, join: Callable[..., Member]) -> None:
    reader = join(broker_url, f"{root}/#", session_expiry=60)
    send(join(broker_url), f"{root}/a", b"1", b"2", b"3")
    first = reader.wait_heard(3)
    assert reader.ack(first[0]) == [True]
    reader.wait_subscribed()
    reader.break_line()
    again = reader.wait_heard(5)[3:]
    assert [delivery.payload for delivery in again] == [b"2", b"3"]
    assert reader.sessions == [False, True]
    assert reader.connection.reconnects == 1
    assert [delivery.epoch for delivery in again] == [2, 2]
    # An ack with a packet id of the old connection would hit another frame on the new one.
    assert reader.ack(first[1]) == [False]
    assert reader.ack(*again) == [True, True]
    reader.wait_subscribed()
    reader.break_line()
    wait_for(reader.connection.connected.is_set, 10, "connected again")
    assert not wait_quietly(lambda: len(reader.heard) > 5)


def test_no_ack_while_the_line_is_down(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto()
    reader = join(broker.url, f"{root}/#", session_expiry=60)
    send(join(broker.url), f"{root}/a", b"1")
    (delivery,) = reader.wait_heard(1)
    broker.stop()
    wait_for(lambda: reader.losses == 1, 10, "on_lost")
    assert reader.ack(delivery) == [False]


def test_a_new_process_finds_the_session(mosquitto_url: str, root: str, join: Callable[..., Member]) -> None:
    name = f"{root}-reader"
    writer = join(mosquitto_url)
    with Member(mosquitto_url, f"{root}/#", client_id=name, session_expiry=60).connection as before:
        before.wait_connected(NEVER)
        wait_for(lambda: send(writer, f"{root}/probe", b"") == [0], 10, "subscribed")
    assert send(writer, f"{root}/a", b"while away") == [0]
    after = join(mosquitto_url, f"{root}/#", client_id=name, session_expiry=60)
    assert after.sessions == [True]
    wait_for(lambda: b"while away" in after.payloads(), 10, "the frame that waited")
    after.connection.close(session_expiry=0)
    wait_for(lambda: send(writer, f"{root}/a", b"x") == [0x10], 10, "the session to end")


def test_a_broker_that_restarts_gets_what_was_published_meanwhile(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    broker = mosquitto(
        "allow_anonymous true", "persistence true", f"persistence_location {state}/", "user root"
    )
    reader = join(broker.url, f"{root}/#", session_expiry=60, on_delivery=lambda delivery: None)
    heard: List[bytes] = []

    def take(delivery: Delivery) -> None:
        heard.append(delivery.payload)
        reader.connection.ack(delivery)

    reader.connection._on_delivery = take
    writer = join(broker.url, session_expiry=60)
    send(writer, f"{root}/a", b"before")
    broker.stop()
    wait_for(lambda: writer.losses == 1 and reader.losses == 1, 10, "on_lost")
    codes: List[int] = []
    for n in range(20):
        writer.connection.publish(Publication(f"{root}/a", b"%d" % n, on_puback=codes.append))
    assert not wait_quietly(lambda: bool(codes), 0.2)
    broker.start()
    wait_for(lambda: len(codes) == 20, 20, "20 PUBACKs")
    wait_for(lambda: len(heard) == 21, 10, "21 messages")
    assert heard == [b"before", *[b"%d" % n for n in range(20)]]
    assert writer.connection.reconnects >= 1


def test_what_was_in_flight_is_sent_again(join: Callable[..., Member], root: str) -> None:
    """A broker that takes a frame and dies before its PUBACK."""
    with ForgetfulBroker() as broker:
        writer = join(broker.url, wait=False)
        codes: List[int] = []
        ticks = itertools.count(1)
        frame = Publication(
            *(f"{root}/a", b"precious"), stamps=lambda: [("try", f"{next(ticks)}")], on_puback=codes.append
        )
        writer.connection.publish(frame)
        wait_for(lambda: len(broker.published) == 2, 10, "the frame, twice")
        wait_for(lambda: codes == [0], 10, "one PUBACK")
        assert all(b"precious" in packet for packet in broker.published)
        assert [b"\x03try\x00\x01%d" % number in broker.published[number - 1] for number in (1, 2)] == [
            True
        ] * 2
        assert writer.losses == 1


def test_unsubscribing_holds_across_a_reconnect(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto()
    reader = join(broker.url, f"{root}/#", session_expiry=60)
    writer = join(broker.url)
    assert send(writer, f"{root}/a", b"x") == [0]
    reader.break_line()
    reader.connection.unsubscribe([f"{root}/#"])
    assert reader.connection.unsubscribed.wait(10)
    assert reader.sessions == [False, True]
    assert send(writer, f"{root}/a", b"y") == [0x10]


def test_subscribing_again_holds_across_a_reconnect(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(broker_url, f"{root}/#", session_expiry=60)
    writer = join(broker_url)
    reader.connection.unsubscribe([f"{root}/#"])
    assert reader.connection.unsubscribed.wait(10)
    send(writer, f"{root}/a", b"while away")
    reader.connection.subscribe([f"{root}/#"])
    reader.wait_subscribed()
    send(writer, f"{root}/a", b"back")
    reader.wait_heard(1)
    reader.break_line()
    wait_for(reader.connection.connected.is_set, 10, "connected again")
    reader.wait_subscribed()
    send(writer, f"{root}/a", b"and again")
    wait_for(lambda: reader.payloads()[-1:] == [b"and again"], 10, "the last one")
    assert set(reader.payloads()) == {b"back", b"and again"}


def test_subscribing_as_the_line_is_lost_waits_for_the_next(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(mosquitto_url, f"{root}/a")
    connection = reader.connection
    connection.unsubscribe([f"{root}/a"])
    assert connection.unsubscribed.wait(10)

    def lose_the_line() -> None:
        sock = connection._client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)
        connection._client.loop_read()

    both_are_posted = threading.Event()
    connection.call(lambda: both_are_posted.wait(10) and None)
    connection.call(lose_the_line)
    connection.subscribe([f"{root}/a"])
    both_are_posted.set()
    wait_for(lambda: len(reader.sessions) == 2 or connection.failure, 10, "the next connection")
    connection.check()
    reader.wait_subscribed()
    send(join(mosquitto_url), f"{root}/a", b"heard")
    reader.wait_heard(1)


def test_a_broker_that_is_not_there_yet_is_waited_for_aloud(
    mosquitto: Callable[..., Mosquitto], join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto()
    broker.stop()
    with caplog.at_level(logging.WARNING):
        member = join(broker.url, wait=False)
        wait_for(lambda: "cannot reach" in caplog.text, 10, "a warning")
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
        wait_for(lambda: "refused: not authorised" in caplog.text, 10, "a warning")
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
        wait_for(lambda: "cannot reach mqtt://nowhere.invalid:1883" in caplog.text, 20, "a warning")


def test_what_is_no_broker_is_retried_with_a_hint(
    join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, caplog.at_level(logging.WARNING):
        join(f"mqtt://127.0.0.1:{port}", wait=False)
        wait_for(lambda: "is this the broker's MQTT port?" in caplog.text, 10, "a hint")


# --- refusals -----------------------------------------------------------------------------------------


@pytest.fixture
def guarded(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Tuple[Mosquitto, Path]:
    """A broker that wants a password, and a file that holds it."""
    (tmp_path / "users").touch()
    subprocess.run(
        [need("mosquitto_passwd"), "-b", str(tmp_path / "users"), "camera", "right"],
        check=True,
        capture_output=True,
    )
    (tmp_path / "users").chmod(0o644)
    (tmp_path / "right").write_text("right\n")
    broker = mosquitto("allow_anonymous false", f"password_file {tmp_path}/users", "user root")
    return broker, tmp_path / "right"


def test_the_right_password(guarded: Tuple[Mosquitto, Path], join: Callable[..., Member]) -> None:
    broker, secret = guarded
    url = broker.url.replace("mqtt://", "mqtt://camera@")
    assert join(url, settings={"password_file": secret}).connection.connected.is_set()


def test_a_wrong_password_and_none(guarded: Tuple[Mosquitto, Path], tmp_path: Path) -> None:
    broker, _ = guarded
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong-s3cret")
    url = broker.url.replace("mqtt://", "mqtt://camera@")
    text = refused(url, settings={"password_file": wrong})
    assert text.startswith(f"{url} refused the connection: ")
    assert "wrong or missing user name or password" in text
    assert "s3cret" not in text
    assert "--broker" in refused(broker.url)


def test_a_broker_of_the_old_kind_is_named_as_that() -> None:
    """How a broker that speaks MQTT 3.1.1 only answers: unacceptable protocol version, without properties."""
    with answering(b"\x20\x02\x00\x01") as port:
        assert "does not speak MQTT 5" in refused(f"mqtt://127.0.0.1:{port}")


def test_the_3_1_1_port_of_the_embedded_broker_is_no_place_for_us(
    request: pytest.FixtureRequest, join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("iotcore")
    scheme, host, port = request.getfixturevalue("embedded_url").split(":")
    with caplog.at_level(logging.WARNING):
        member = join(f"{scheme}:{host}:{int(port) + 1}", wait=False)
        wait_for(lambda: "cannot reach" in caplog.text or member.failures, 15, "a word about it")
    assert not member.connection.connected.is_set()


def test_reading_that_is_not_allowed(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """By the dynamic security plugin: an acl_file lets everybody subscribe, and then delivers nothing."""
    plugins = sorted(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("this Mosquitto comes without its dynamic security plugin")
    rules = tmp_path / "rules.json"
    rules.write_text('{"defaultACLAccess": {"subscribe": false, "publishClientSend": true}}')
    rules.chmod(0o600)
    broker = mosquitto(
        "allow_anonymous true", f"plugin {plugins[0]}", f"plugin_opt_config_file {rules}", "user root"
    )
    member = Member(broker.url, "nanofleet/results/door")
    with pytest.raises(ConnectionRefused) as caught, member.connection as connection:
        wait_for(lambda: connection.check() or connection.ended.is_set(), 10)
    text = str(caught.value)
    assert "does not let this member read nanofleet/results/door" in text
    assert "ACL" in text


def test_writing_that_is_not_allowed_is_heard(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, join: Callable[..., Member], root: str
) -> None:
    (tmp_path / "acl").write_text("topic read #\ntopic write probe/#\n")
    (tmp_path / "acl").chmod(0o644)
    broker = mosquitto("allow_anonymous true", f"acl_file {tmp_path}/acl", "user root")
    assert send(join(broker.url), f"{root}/a", b"x") == [0x87]


@pytest.mark.parametrize(
    "disconnect",
    [
        pytest.param(b"\xe0\x07\x8e\x05\x1f\x00\x02no", id="with a reason string"),
        pytest.param(
            b"\xe0\x01\x8e",
            id="bare",
            marks=pytest.mark.skipif(
                paho.mqtt.__version__.startswith("2.1."),
                reason="paho 2.1 reads no reason from so short a DISCONNECT: the retained status must do",
            ),
        ),
    ],
)
def test_the_session_taken_over_by_a_twin(join: Callable[..., Member], disconnect: bytes) -> None:
    """CONNACK, then DISCONNECT 0x8E, as MQTT 5 has it; Mosquitto 2.0.11 and rumqttd just hang up."""
    with answering(b"\x20\x03\x00\x00\x00" + disconnect) as port:
        older = join(f"mqtt://127.0.0.1:{port}", wait=False, client_id="twin")
        assert older.connection.ended.wait(10)
    with pytest.raises(DuplicateMember, match="another client connected as 'twin'"):
        older.connection.check()
    assert older.failures == [older.connection.failure]


def test_one_that_does_not_give_way_takes_its_session_back(join: Callable[..., Member]) -> None:
    """As a worker does: it may have been taken for dead, and adopted, while it lived."""
    with answering(b"\x20\x03\x00\x00\x00" + b"\xe0\x07\x8e\x05\x1f\x00\x02no") as port:
        member = join(f"mqtt://127.0.0.1:{port}", wait=False, gives_way=False)
        wait_for(lambda: len(member.sessions) > 1, 20, "another connection")
        assert "took the session over" in member.connection.trouble
        assert not member.failures


# --- sizes --------------------------------------------------------------------------------------------


def test_a_packet_that_is_too_large_is_heard_and_harmless(
    mosquitto: Callable[..., Mosquitto], root: str, join: Callable[..., Member]
) -> None:
    broker = mosquitto("allow_anonymous true", "max_packet_size 20000")
    reader = join(broker.url, f"{root}/#")
    writer = join(broker.url)
    assert writer.connection.maximum_packet_size == 20000
    fits = 20000 - PACKET_OVERHEAD - len(f"{root}/a")
    assert sorted(send(writer, f"{root}/a", bytes(fits + 1), bytes(fits))) == [0, 0x95]
    assert [len(d.payload) for d in reader.wait_heard(1)] == [fits]
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
        wait_for(lambda: len(codes) == 2, 10, "both reason codes")
        assert codes == [0x95, 0x10]
        assert writer.losses == 0


def test_a_large_packet_goes_through(broker_url: str, root: str, join: Callable[..., Member]) -> None:
    reader = join(broker_url, f"{root}/#")
    payload = bytes(range(256)) * 20_000
    send(join(broker_url), f"{root}/a", payload)
    assert reader.wait_heard(1)[0].payload == payload


# --- failing and closing ------------------------------------------------------------------------------


def test_a_handler_that_raises_ends_the_thread_in_the_open(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
    problem = RuntimeError("a defect")

    def fail(delivery: Delivery) -> None:
        raise problem

    reader = join(broker_url, f"{root}/#", on_delivery=fail)
    send(join(broker_url), f"{root}/a", b"x")
    assert reader.connection.ended.wait(10)
    assert reader.connection.failure is problem
    assert reader.failures == [problem]
    assert not reader.connection.connected.is_set()
    with pytest.raises(RuntimeError, match="a defect"):
        reader.connection.check()
    reader.connection.publish(Publication(f"{root}/a", b"into the void"))  # and that does no harm


def test_a_posted_function_that_raises_does_so_too(mosquitto_url: str, join: Callable[..., Member]) -> None:
    member = join(mosquitto_url)
    member.connection.call(lambda: [][0])
    assert member.connection.ended.wait(10)
    assert isinstance(member.connection.failure, IndexError)


@pytest.mark.parametrize("where", ["delivery", "posted", "puback"])
def test_a_file_that_a_handler_misses_is_no_lost_connection(
    where: str, mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    def fail(*_: Any) -> None:
        (Path("/proc/self") / root).read_bytes()

    member = join(mosquitto_url, f"{root}/#", on_delivery=fail)
    if where == "posted":
        member.connection.call(fail)
    else:
        topic = f"{root}/a" if where == "delivery" else "elsewhere"
        member.connection.publish(Publication(topic, b"x", on_puback=fail if where == "puback" else None))
    assert member.connection.ended.wait(10)
    assert isinstance(member.connection.failure, HandlerFailed)
    assert root in str(member.connection.failure)


def will(root: str) -> Publication:
    return Publication(f"{root}/will", b"lost", retain=True)


def test_the_will_is_published_only_when_it_should(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(broker_url, f"{root}/#")
    quiet = join(broker_url, will=will(root))
    quiet.connection.close()
    assert quiet.connection.ended.is_set()
    assert not wait_quietly(lambda: bool(reader.heard))
    loud = join(broker_url, will=will(root))
    loud.connection.close(send_will=True)
    assert reader.wait_heard(1)[0].payload == b"lost"


def test_leaving_a_busy_broker_neither_publishes_the_will_nor_keeps_the_session(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    join: Callable[..., Member],
    fleet: Fleet,
) -> None:
    """It reads what a member has said last only when the member has gone, and others have spoken before."""
    broker = mosquitto("allow_anonymous true")
    listener = fleet.at(broker.url).listen("will", "last")
    member = join(broker.url, f"{root}/others", will=will(root), session_expiry=100)
    member.wait_subscribed()
    assert broker.process
    broker.process.send_signal(signal.SIGSTOP)
    for _ in range(30):
        listener.client.publish(f"{root}/others", b"", qos=0)
    for _ in range(3):
        member.connection.publish(Publication(f"{root}/last", b""))
    closing = threading.Thread(target=lambda: member.connection.close(session_expiry=0))
    closing.start()
    time.sleep(0.3)  # by now the DISCONNECT has left
    broker.process.send_signal(signal.SIGCONT)
    closing.join()
    wait_for(lambda: len(listener.on(f"{root}/last")) == 3, 10, "what was said last")
    listener.publish(f"{root}/will", b"sentinel")
    wait_for(lambda: listener.on(f"{root}/will"), 10)
    assert [message.payload for message in listener.on(f"{root}/will")] == [b"sentinel"]
    assert join(broker.url, client_id=member.connection.client_id).sessions == [False]


def test_leaving_the_block_by_an_error_publishes_the_will(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(mosquitto_url, f"{root}/#")
    member = Member(mosquitto_url, will=will(root))
    with contextlib.suppress(NanofleetError), member.connection as connection:
        connection.wait_connected(NEVER)
        raise NanofleetError("something else went wrong")
    assert reader.wait_heard(1)[0].payload == b"lost"


def test_a_handler_that_raises_publishes_the_will(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(mosquitto_url, f"{root}/#")
    member = join(mosquitto_url, will=will(root))
    member.connection.call(lambda: [][0])
    assert reader.wait_heard(1)[0].payload == b"lost"


def test_close_sends_what_was_published(broker_url: str, root: str, join: Callable[..., Member]) -> None:
    reader = join(broker_url, f"{root}/#")
    with Member(broker_url).connection as connection:
        connection.wait_connected(NEVER)
        connection.publish(Publication(f"{root}/a", bytes(3_000_000)))
    assert len(reader.wait_heard(1)[0].payload) == 3_000_000


def test_close_does_not_wait_for_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    member = Member(f"mqtt://127.0.0.1:{free_port()}")
    with member.connection as connection, caplog.at_level(logging.WARNING):
        wait_for(lambda: "cannot reach" in caplog.text, 10, "a warning")
        connection.close(timeout=0.5)
        assert connection.ended.is_set()
    connection.close()  # a second time does nothing


def test_waiting_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with Member(f"mqtt://127.0.0.1:{free_port()}").connection as connection:
        assert connection.wait_connected(stop) is False


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_open(mosquitto_url: str, root: str) -> None:
    def live_and_die() -> None:
        with Member(mosquitto_url, f"{root}/#").connection as connection:
            connection.wait_connected(NEVER)
        failing = Member(mosquitto_url)
        with failing.connection as connection:
            connection.wait_connected(NEVER)
            connection.call(lambda: [][0])
            assert connection.ended.wait(10)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = open_files()
        live_and_die()
        gc.collect()
        assert open_files() <= before
    assert [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)] == []


# --- TLS ----------------------------------------------------------------------------------------------


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [need("openssl"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, a server certificate for localhost, and a client's, made here."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = {
        "ca": "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n",
        "server": "subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n",
        "client": "extendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n",
    }
    for name, extension in extensions.items():
        (folder / f"{name}.ext").write_text(extension)
        openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed_by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        openssl(
            folder,
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2"),
            *("-extfile", f"{name}.ext", *(["-signkey", "ca.key"] if name == "ca" else signed_by)),
        )
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@pytest.fixture
def secure(mosquitto: Callable[..., Mosquitto], certificates: Path) -> Callable[..., Mosquitto]:
    """Start a broker whose only listener speaks TLS."""

    def start(*lines: str) -> Mosquitto:
        files = [f"cafile {certificates}/ca.pem", f"certfile {certificates}/server.pem"]
        return mosquitto(
            "allow_anonymous true", *files, f"keyfile {certificates}/server.key", "user root", *lines
        )

    return start


def test_tls_with_the_ca(
    secure: Callable[..., Mosquitto], certificates: Path, root: str, join: Callable[..., Member]
) -> None:
    url = f"mqtts://localhost:{secure().port}"
    trusting = {"ca_file": certificates / "ca.pem"}
    reader = join(url, f"{root}/#", settings=trusting)
    payload = os.urandom(1_000_000)  # more than a TLS record, so bytes wait where no selector sees them
    send(join(url, settings=trusting), f"{root}/a", payload, b"small")
    assert [d.payload for d in reader.wait_heard(2)] == [payload, b"small"]
    assert has_no_delay(reader)


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
        wait_for(lambda: "if it speaks no TLS on this port, write mqtt://" in caplog.text, 10, "a hint")


def test_plain_mqtt_to_a_tls_port(
    secure: Callable[..., Mosquitto], join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        join(secure().url, wait=False)
        wait_for(lambda: "If it speaks TLS on this port, write mqtts://" in caplog.text, 10, "a hint")


# --- WebSockets ---------------------------------------------------------------------------------------


def test_websockets(mosquitto_url: str, root: str, join: Callable[..., Member]) -> None:
    """Debian's Mosquitto is built without WebSockets, so a proxy speaks them in front of it."""
    with WebSocketProxy(mosquitto_url) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/deep/mqtt"
        reader = join(url, f"{root}/#")
        payload = os.urandom(300_000)
        send(join(url), f"{root}/a", b"small", payload, b"last")
        assert [d.payload for d in reader.wait_heard(3)] == [b"small", payload, b"last"]
        assert has_no_delay(reader)
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
        assert [d.payload for d in reader.wait_heard(2)] == [payload, b"last"]
        assert set(proxy.paths) == {"/mqtt"}


@PAHO_DROPS_SOCKETS
def test_what_is_no_websocket(
    mosquitto_url: str, join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port:
        with caplog.at_level(logging.WARNING):
            join(f"ws://127.0.0.1:{port}", wait=False)
            wait_for(lambda: "cannot reach ws://127.0.0.1" in caplog.text, 10, "a warning")
        assert "WebSocket" in caplog.text
