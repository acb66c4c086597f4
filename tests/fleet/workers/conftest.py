"""Workers as statuses and claims that they left with a real broker."""

from __future__ import annotations

import subprocess
from typing import Any, Callable

import pytest

from tests.fleet.members import publish_claim, publish_status
from tests.fleets import Fleet
from tests.harness import Listener, nanofleet


@pytest.fixture
def listener(fleet: Fleet) -> Listener:
    return fleet.listen("#")


@pytest.fixture
def report(listener: Listener, root: str) -> Callable[..., None]:
    """Publish a status."""

    def publish(name: str, **facts: Any) -> None:
        publish_status(listener, root, name, **facts)

    return publish


@pytest.fixture
def claim(listener: Listener, root: str) -> Callable[..., None]:
    """Publish an adopter's claim."""

    def publish(dead: str, worker: str, state: str = "ended", **facts: Any) -> None:
        publish_claim(listener, root, dead, worker, state, **facts)

    return publish


@pytest.fixture
def workers(mosquitto_url: str, root: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `nanofleet workers …` on this test's fleet."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return nanofleet("workers", *arguments, "--broker", mosquitto_url, "--root", root)

    return run
