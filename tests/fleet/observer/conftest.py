"""Observers as fixtures."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

from tests.fleet.observer.observing import ObserverProcess


@pytest.fixture
def observe(tmp_path: Path, root: str) -> Iterator[Callable[..., ObserverProcess]]:
    """Start observers below this test's root; what still runs afterwards is stopped, and must stop well."""
    started: List[ObserverProcess] = []

    def start(url: str, observer_id: str = "o1", *flags: str) -> ObserverProcess:
        started.append(ObserverProcess(tmp_path, url, root, observer_id, *flags))
        return started[-1]

    yield start
    for observer in started:
        if observer.process.poll() is None:
            observer.send_signal(signal.SIGCONT)
            assert observer.stop() == 0
        assert "Traceback" not in observer.log.read_text(), observer.log.read_text()
