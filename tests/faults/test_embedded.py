"""The embedded broker: workers that die or leave, and its own death. It keeps nothing on disk.

rumqttd loses frames where a member of a shared subscription vanishes, so here our publisher sends: with its
spool it asks again for what is not answered.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Callable, Iterator, Optional

import pytest

from tests.faults.case import SLOW, Case
from tests.faults.killing import at_work, kill_at_work
from tests.harness import wait_for

FRAMES = 300

pytestmark = pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")


class Embedded:
    """The embedded broker on a port of its own, with its parent, in processes that can be killed."""

    _HOLD = """
import sys
from fleet.embedded import embedded_broker
with embedded_broker(port=int(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""

    def __init__(self) -> None:
        self.url = ""
        self._process: Optional[subprocess.Popen[str]] = None

    def start(self) -> Embedded:
        """Start it, again on the same port."""
        port = self.url.rsplit(":", 1)[1] if self.url else "0"
        command = [sys.executable, "-c", self._HOLD, port]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        assert self.url, "no broker"
        return self

    def kill(self) -> None:
        """Kill the broker and its parent."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    """A broker for this test alone: what is done here would be felt by others."""
    broker = Embedded()
    yield broker.start()
    broker.kill()


@pytest.mark.parametrize("returns", [True, False])
def test_one_of_three_is_killed(
    embedded: Embedded, case: Callable[..., Case], times: int, outage: Callable[[float], float], returns: bool
) -> None:
    end = "back after 5 s" if returns else "for good"
    fleet = case(f"embedded broker: one of three workers killed, {end}", embedded.url)
    victim, *_ = fleet.start(3, *SLOW)
    with fleet.publisher(FRAMES * times, "--fps", "100") as publisher:
        fleet.wait_answers(FRAMES // 10)
        fleet.strike()
        kill_at_work(victim)
        if returns:
            time.sleep(outage(5))
            victim.start()
        fleet.finish(publisher)
    if returns:
        wait_for(lambda: victim.log.read_text().count("connected to") == 2, 60, "the victim's return")
        before = len(fleet.answers)
        with fleet.publisher(30) as publisher:
            fleet.finish(publisher)
        assert victim.id in {heard.answer.worker for heard in fleet.answers[before:]}


def test_sigterm_in_the_middle_of_the_load(embedded: Embedded, case: Callable[..., Case], times: int) -> None:
    fleet = case("embedded broker: SIGTERM to one of three under load", embedded.url)
    leaver, *_ = fleet.start(3, *SLOW, "--max-delay", "0.5")
    with fleet.publisher(FRAMES * times) as publisher:
        fleet.wait_answers(FRAMES // 3)
        wait_for(lambda: at_work(leaver), what="frames at work")
        fleet.strike()
        assert leaver.stop(signal.SIGTERM) == 0
        assert "draining: 0 frames" not in leaver.log.read_text()
        assert fleet.unanswered
        fleet.finish(publisher)
    assert fleet.row().duplicated == 0


def test_a_flood(embedded: Embedded, case: Callable[..., Case], times: int) -> None:
    """The broker, rumqttd, hands over 100 frames whatever the window, and then nothing, no PUBACK either."""
    fleet = case("embedded broker: 200 frames of 200 kB ahead of one worker", embedded.url)
    fleet.start(1, *SLOW)
    fleet.images = [image + bytes(200_000 - len(image)) for image in fleet.images]
    fleet.strike()
    with fleet.publisher(2 * FRAMES * times, "--window", "200", "--resend-after", "30") as publisher:
        fleet.finish(publisher)
    assert fleet.row().duplicated == 0


def test_the_broker_is_killed(
    embedded: Embedded, case: Callable[..., Case], times: int, outage: Callable[[float], float]
) -> None:
    fleet = case("embedded broker: killed", embedded.url)
    fleet.start(2, *SLOW)
    with fleet.publisher(FRAMES * times) as publisher:
        fleet.wait_answers(FRAMES // 3)
        fleet.strike()
        embedded.kill()
        assert fleet.unanswered
        time.sleep(outage(1))
        embedded.start()
        fleet.finish(publisher)
    assert "has lost its state: what is unanswered is sent again" in fleet.said()
