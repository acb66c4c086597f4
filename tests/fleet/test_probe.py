"""An embedded broker that lets nobody in any more, although its connections go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Iterator, List, Optional

import pytest

from fleet import probe
from fleet.embedded import with_broker
from tests.harness import wait_for
from wire.broker import BrokerSettings
from wire.errors import NanofleetError

pytestmark = pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Whether this process was told to leave; the probe looks at it often."""
    monkeypatch.setattr(probe, "INTERVAL", 0.2)
    monkeypatch.setattr(probe, "PATIENCE", 1.0)
    event = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    yield event
    signal.signal(signal.SIGTERM, before)


def children() -> List[int]:
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def test_a_deaf_broker_ends_its_process(told: threading.Event) -> None:
    """It is stopped, which to a newcomer is the same: a connection, and no CONNACK."""
    before = set(children())

    def run() -> None:
        with with_broker(BrokerSettings(broker="embedded"), default_port=0):
            (broker,) = set(children()) - before
            os.kill(broker, signal.SIGSTOP)
            wait_for(told.is_set, what="the signal to leave")

    with pytest.raises(NanofleetError, match="lets nobody in any more") as raised:
        run()
    assert raised.value.exit_code == 1


def test_one_that_is_well_disturbs_nobody(told: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: List[Optional[NanofleetError]] = []
    try_once = probe.Probe._try
    monkeypatch.setattr(probe.Probe, "_try", lambda self: tries.append(try_once(self)))
    with with_broker(BrokerSettings(broker="embedded"), default_port=0):
        wait_for(lambda: len(tries) >= 3, what="three tries")
    assert set(tries) == {None}
    assert not told.is_set()
