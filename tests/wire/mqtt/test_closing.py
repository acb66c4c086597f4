"""The end of a connection: handlers that raise, wills, and what close leaves behind."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import socket
import threading
import time
import warnings
from pathlib import Path
from typing import Any, Callable, List, Sequence, Tuple

import pytest

from tests.fleets import Fleet
from tests.harness import Mosquitto, wait_for
from tests.ports import free_port
from tests.wire.mqtt.members import (
    NEVER,
    Member,
    send,
    wait_quietly,
    will,
)
from tests.wire.servers import Server
from wire.errors import NanofleetError
from wire.mqtt.handlers import HandlerFailed
from wire.mqtt.packets import Delivery, Publication


def test_a_handler_that_raises_ends_the_thread_in_the_open(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
    problem = RuntimeError("a defect")

    def fail(delivery: Delivery) -> None:
        raise problem

    reader = join(broker_url, f"{root}/#", on_delivery=fail)
    send(join(broker_url), f"{root}/a", b"x")
    assert reader.connection.ended.wait(60)
    assert reader.connection.failure is problem
    assert reader.failures == [problem]
    assert not reader.connection.connected.is_set()
    with pytest.raises(RuntimeError, match="a defect"):
        reader.connection.check()
    reader.connection.publish(Publication(f"{root}/a", b"into the void"))  # and that does no harm


def test_a_posted_function_that_raises_does_so_too(mosquitto_url: str, join: Callable[..., Member]) -> None:
    member = join(mosquitto_url)
    member.connection.call(lambda: [][0])
    assert member.connection.ended.wait(60)
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
    assert member.connection.ended.wait(60)
    assert isinstance(member.connection.failure, HandlerFailed)
    assert root in str(member.connection.failure)


def test_the_will_is_published_only_when_it_should(
    broker_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(broker_url, f"{root}/#")
    quiet = join(broker_url, will=will(root))
    quiet.connection.close()
    assert quiet.connection.ended.is_set()
    assert not wait_quietly(lambda: bool(reader.received))
    loud = join(broker_url, will=will(root))
    loud.connection.close(send_will=True)
    assert reader.wait_received(1)[0].payload == b"lost"


def test_leaving_a_busy_broker_neither_publishes_the_will_nor_keeps_the_session(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    join: Callable[..., Member],
    fleet: Fleet,
) -> None:
    """It reads a member's last packets only when the member has gone, after those of others."""
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
    wait_for(lambda: len(listener.on(f"{root}/last")) == 3, what="the last messages")
    listener.publish(f"{root}/will", b"sentinel")
    wait_for(lambda: listener.on(f"{root}/will"))
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
    assert reader.wait_received(1)[0].payload == b"lost"


def test_a_handler_that_raises_publishes_the_will(
    mosquitto_url: str, root: str, join: Callable[..., Member]
) -> None:
    reader = join(mosquitto_url, f"{root}/#")
    member = join(mosquitto_url, will=will(root))
    member.connection.call(lambda: [][0])
    assert reader.wait_received(1)[0].payload == b"lost"


def test_close_sends_what_was_published(broker_url: str, root: str, join: Callable[..., Member]) -> None:
    reader = join(broker_url, f"{root}/#")
    with Member(broker_url).connection as connection:
        connection.wait_connected(NEVER)
        connection.publish(Publication(f"{root}/a", bytes(3_000_000)))
    assert len(reader.wait_received(1)[0].payload) == 3_000_000


def test_close_does_not_wait_for_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    member = Member(f"mqtt://127.0.0.1:{free_port()}")
    with member.connection as connection, caplog.at_level(logging.WARNING):
        wait_for(lambda: "cannot reach" in caplog.text, what="a warning")
        connection.close(timeout=0.5)
        assert connection.ended.is_set()
    connection.close()  # a second time does nothing


def test_waiting_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with Member(f"mqtt://127.0.0.1:{free_port()}").connection as connection:
        assert connection.wait_connected(stop) is False


class SlowToRead(Server):
    """Has one publication at a time, confirms the first before it reads it, and then reads on.

    Attributes:
        confirm: set to have it do so.
        confirmed: to be set once that has been heard.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.confirm, self.confirmed = threading.Event(), threading.Event()

    def serve(self, client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x01")  # Receive Maximum 1
        assert self.confirm.wait(60)
        client.sendall(b"\x40\x02\x00\x01")
        assert self.confirmed.wait(60)
        while client.recv(1 << 20):
            pass


def test_nothing_is_published_behind_the_disconnect(join: Callable[..., Member]) -> None:
    stamped: List[bool] = []

    def stamp() -> Sequence[Tuple[str, str]]:
        stamped.append(True)
        return ()

    with SlowToRead() as broker:
        connection = join(broker.url, wait=False).connection
        assert connection.wait_connected(NEVER)
        connection.publish(Publication("a", bytes(12_000_000), on_puback=lambda code: broker.confirmed.set()))
        connection.publish(Publication("a", b"", stamps=stamp))
        connection.close(timeout=0)
        connection.call(broker.confirm.set)
        assert connection.ended.wait(60)
    assert not stamped


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
            assert connection.ended.wait(60)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = open_files()
        live_and_die()
        gc.collect()
        assert open_files() <= before
    assert [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)] == []
