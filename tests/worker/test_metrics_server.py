"""The metrics' address: the next free port beside other workers, and what keeps it from being listened on."""

from __future__ import annotations

import contextlib
import http.client
import socket
import urllib.request
from typing import Iterator

import pytest

from tests.harness import wait_for
from tests.ports import free_port
from wire.errors import NanofleetError, SettingsError
from worker import metrics_server
from worker.metrics import Metrics
from worker.metrics_server import serve_metrics


def serve(host: str, port: int, or_next: bool) -> contextlib.AbstractContextManager[str]:
    metrics = Metrics()
    return serve_metrics(metrics, host, port, or_next=or_next, healthy=lambda: True, ready=lambda: True)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on, with a free one behind it."""
    port = free_port(count=2)
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_the_next_free_port_beside_another_worker(taken: int) -> None:
    with serve("127.0.0.1", taken, or_next=True) as url:
        assert url == f"http://127.0.0.1:{taken + 1}/metrics"
        with urllib.request.urlopen(url) as page:
            assert b"nanofleet_frames_in_hand 0.0" in page.read()


def test_a_port_that_was_asked_for_is_never_another(taken: int) -> None:
    with pytest.raises(NanofleetError, match=r"--metrics-port: cannot listen .* in use") as raised:
        serve("127.0.0.1", taken, or_next=False).__enter__()
    assert raised.value.exit_code == 1, "a supervisor may find it free at the next try"


def test_an_address_that_is_not_there_yet_may_come() -> None:
    with pytest.raises(NanofleetError, match=r"--metrics-host: cannot listen on 192\.0\.2\.1") as raised:
        serve("192.0.2.1", 9464, or_next=True).__enter__()
    assert raised.value.exit_code == 1


def test_an_address_that_is_none_stays_wrong() -> None:
    with pytest.raises(SettingsError, match=r"--metrics-host: cannot listen on no\.such\.host\.invalid"):
        serve("no.such.host.invalid", 9464, or_next=True).__enter__()


def ask(port: int, host: str) -> int:
    """The status code of the answer to a request that names a host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Host": host})
        return connection.getresponse().status


def test_a_loopback_address_answers_only_to_its_own_names() -> None:
    """A page in a browser may have its own name resolved to 127.0.0.1, and would read the answer."""
    with serve("127.0.0.1", free_port(), or_next=True) as url:
        port = int(url.split(":")[2].split("/")[0])
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", "[::1]:9464"):
            assert ask(port, host) == 200, host
        for host in (f"attacker.example:{port}", "127.0.0.1.attacker.example", "192.0.2.1", "", "[", "x:y:z"):
            assert ask(port, host) == 403, host


def test_an_address_of_the_network_answers_to_any_name() -> None:
    with serve("0.0.0.0", free_port(), or_next=True) as url:
        assert ask(int(url.split(":")[2].split("/")[0]), "nano-1.example:9464") == 200


def test_idle_connections_cost_few_files_and_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server._QuietHandler, "timeout", 0.5)
    with serve("127.0.0.1", free_port(), or_next=True) as url, contextlib.ExitStack() as held:
        port = int(url.split(":")[2].split("/")[0])
        idle = [held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(100)]
        for connection in idle:
            connection.settimeout(30)
        # Those beyond the limit at once, the others after the silence: each sees that it is closed.
        assert [connection.recv(1) for connection in idle] == [b""] * 100
        wait_for(lambda: ask_or_closed(port) == 200, what="an answer once they are gone")


def test_a_request_that_comes_byte_by_byte_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never silent; so many of them would keep everybody else out for as long as they like."""
    monkeypatch.setattr(metrics_server, "_MOST_SECONDS", 1.0)
    monkeypatch.setattr(metrics_server, "_MAX_CONNECTIONS", 2)
    with serve("127.0.0.1", free_port(), or_next=True) as url, contextlib.ExitStack() as held:
        port = int(url.split(":")[2].split("/")[0])
        slow = [held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2)]

        def answered() -> bool:
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.send(b"G")
            return ask_or_closed(port) == 200

        wait_for(answered, what="an answer once they are ended")


@pytest.mark.parametrize(
    "header", ["Accept: application/openmetrics-text; version=\xff", "Accept-Encoding: gzip;q=,,", "\x00: :;"]
)
def test_a_strange_request_costs_one_line_of_the_log_at_most(
    header: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with serve("127.0.0.1", free_port(), or_next=True) as url:
        port = int(url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode("latin-1")
            )
            connection.settimeout(30)
            assert connection.recv(16).startswith(b"HTTP/1.")
        assert ask(port, "localhost") == 200
    assert capfd.readouterr().err == ""
    assert len(caplog.messages) <= 1


def ask_or_closed(port: int) -> int:
    try:
        return ask(port, "localhost")
    except OSError:
        return 0
