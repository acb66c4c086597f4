"""The metrics' address: the next free port beside other workers, and what keeps it from being listened on."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from typing import Iterator

import pytest

from tests.harness import free_port
from wire.errors import NanofleetError, SettingsError
from worker.metrics import Metrics, serve_metrics


def serve(host: str, port: int, or_next: bool) -> contextlib.AbstractContextManager[str]:
    metrics = Metrics(lambda: 0)
    return serve_metrics(metrics, host, port, or_next=or_next, healthy=lambda: True, ready=lambda: True)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on, with a free one behind it."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            break
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
    with pytest.raises(SettingsError, match=r"cannot listen on no\.such\.host\.invalid"):
        serve("no.such.host.invalid", 9464, or_next=True).__enter__()
