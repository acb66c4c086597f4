"""A broker that is not reached ends each operator's command within its --timeout, and is named."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from typing import Callable, ContextManager, Iterator, List

import pytest

from tests.harness import nanofleet
from tests.ports import free_port

COMMANDS = (
    ["workers"],
    ["workers", "--watch"],
    ["workers", "forget", "nano-1"],
    ["results"],
    ["models", "use", "resnet50"],
    ["models", "reset"],
)


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """A port where nobody listens."""
    yield f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def a_black_hole() -> Iterator[str]:
    """An address that answers no packet: a queue of connections that is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def silence() -> Iterator[str]:
    """A server that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def no_name() -> Iterator[str]:
    """A host that does not exist."""
    yield "brocker.invalid:1883"


@contextlib.contextmanager
def no_route() -> Iterator[str]:
    """An address of no network (RFC 5737), whose packets are dropped, or refused on the way."""
    yield "192.0.2.1:1883"


@pytest.mark.parametrize(
    ("where", "command"),
    [
        *((nobody, command) for command in COMMANDS),
        *((where, ["workers"]) for where in (a_black_hole, silence, no_name, no_route)),
        *((where, ["results"]) for where in (a_black_hole, silence)),
        (a_black_hole, ["models", "use", "resnet50"]),
    ],
)
def test_the_timeout_bounds_the_connection(
    where: Callable[[], ContextManager[str]], command: List[str]
) -> None:
    with where() as address:
        began = time.monotonic()
        run = nanofleet(*command, "--broker", f"mqtt://{address}", "--timeout", "1", timeout=60)
        took = time.monotonic() - began
    assert run.returncode == 1, run.stdout + run.stderr
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"nanofleet {command[0]}")
    assert f": mqtt://{address}: not reached within 1 s" in last
    assert took < 30


def test_the_reason_is_told_in_text_and_in_json() -> None:
    flags = ("workers", "--broker", f"mqtt://127.0.0.1:{free_port()}", "--timeout", "1")
    shown = nanofleet(*flags).stderr.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING cannot reach mqtt://", shown[0])
    assert "Connection refused" in shown[-1]
    quiet = nanofleet(*flags, "--log-level", "error").stderr.splitlines()
    assert len(quiet) == 1
    lines = [json.loads(line) for line in nanofleet(*flags, "--log-format", "json").stderr.splitlines()]
    assert {line["level"] for line in lines} == {"warning", "error"}
    assert lines[-1]["logger"] == "nanofleet workers"
    assert "Connection refused" in lines[-1]["message"]
    chatty = nanofleet(*flags, "--log-level", "debug")
    assert chatty.returncode == 1
