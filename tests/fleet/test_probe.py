"""An embedded broker that lets nobody in any more, although its connections go on."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from typing import Iterator, List, Optional
from urllib.parse import SplitResult, urlsplit

import pytest

from fleet.embedded import probe, with_broker
from tests.harness import wait_for
from tests.wire.servers import Server
from wire.broker import BrokerSettings
from wire.errors import NanofleetError

pytestmark = pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Whether this process got a SIGTERM; the probe tries often."""
    monkeypatch.setattr(probe, "INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr(probe, "TRY_SECONDS", 1.0)
    event = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    yield event
    signal.signal(signal.SIGTERM, before)


#: A CONNECT with a client id that the broker refuses, by how much its port is above the one for MQTT 5.
REFUSED = {0: b"\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1/", 1: b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1/"}


@pytest.mark.parametrize("port", REFUSED, ids=["MQTT 5", "MQTT 3.1.1"])
def test_a_deaf_broker_ends_its_process(stopped: threading.Event, port: int) -> None:
    """Two packets of a stranger make it so, for newcomers to that port alone."""

    def knock(url: SplitResult) -> None:
        with socket.create_connection((url.hostname, (url.port or 0) + port), 10) as line:
            line.sendall(REFUSED[port])
            assert line.recv(1) == b"", "closed without a CONNACK"

    def run() -> None:
        with with_broker(BrokerSettings(broker="embedded"), default_port=0) as settings:
            for _ in range(2):
                knock(urlsplit(settings.broker))
            wait_for(stopped.is_set, what="the signal to leave")

    with pytest.raises(NanofleetError, match="lets nobody in any more") as raised:
        run()
    assert raised.value.exit_code == 1


class Slow311(Server):
    """Replies to an MQTT 3.1.1 CONNECT, a byte in a packet; and then says no more."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self._reply = reply
        self.reached = threading.Event()

    def serve(self, client: socket.socket) -> None:
        """See the class."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        assert client.recv(100)[:1] == b"\x10"
        for byte in self._reply:
            client.sendall(bytes([byte]))
        self.reached.set()
        client.recv(1)  # until one of the two hangs up

    def probe(self) -> probe.Probe:
        """One of a broker with this port for MQTT 3.1.1."""
        return probe.Probe(BrokerSettings(broker=f"mqtt://127.0.0.1:{self.port - 1}").open_broker())


def test_a_refusal_is_no_sign_of_health() -> None:
    with Slow311(b"\x20\2\0\0") as well:
        assert well.probe()._connect_311() is None
    with Slow311(b"\x20\2\0\3") as unavailable:
        assert "refused, with 20 02 00 03" in str(unavailable.probe()._connect_311())


def test_leaving_waits_for_no_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TRY_SECONDS", 600.0)
    faults: List[Optional[NanofleetError]] = []
    with Slow311(b"") as mute:
        tried = mute.probe()
        thread = threading.Thread(target=lambda: faults.append(tried._connect_311()))
        thread.start()
        assert mute.reached.wait(30)
        tried._ended.set()
        thread.join(30)
        assert faults == [None]


def test_one_that_is_well_disturbs_nobody(stopped: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: List[Optional[NanofleetError]] = []
    try_once = probe.Probe._try
    monkeypatch.setattr(probe.Probe, "_try", lambda self: tries.append(try_once(self)))
    with with_broker(BrokerSettings(broker="embedded"), default_port=0):
        wait_for(lambda: len(tries) >= 3, what="three tries")
    assert set(tries) == {None}
    assert not stopped.is_set()
