"""Brokers that stop, die, forget or drop, and publishers that die: the spool carries what they lose.

The broker comes before the case in each test's arguments: so it is still there when the workers leave.
"""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Callable, List

import pytest

from tests.faults.case import SLOW, Case
from tests.fleets import EMBEDDED
from tests.harness import Mosquitto, wait_for

FRAMES = 300
# As root it may read and write in the tests' folders, which are closed to its own user.
SETTINGS = ("allow_anonymous true", "max_queued_messages 10000", "user root")


def persistent(folder: Path) -> List[str]:
    data = folder / "database"
    data.mkdir()
    return [*SETTINGS, "persistence true", f"persistence_location {data}/", "autosave_interval 1"]


def count(broker: Mosquitto, line: str) -> int:
    return len(re.findall(line, broker.log.read_text(errors="replace")))


def sends(broker: Mosquitto) -> int:
    """How often a publisher has sent a frame."""
    return count(broker, "Received PUBLISH from nanofleet-publisher")


@pytest.mark.parametrize(
    ("fault", "signum", "kept", "forgets"),
    [
        ("broker SIGTERM, with persistence", signal.SIGTERM, True, False),
        ("broker SIGKILL, with persistence", signal.SIGKILL, True, False),
        ("broker SIGKILL, without persistence", signal.SIGKILL, False, False),
        ("broker restarted with an empty database", signal.SIGTERM, True, True),
    ],
)
def test_the_broker(
    mosquitto: Callable[..., Mosquitto],
    case: Callable[..., Case],
    tmp_path: Path,
    times: int,
    outage: Callable[[float], float],
    fault: str,
    signum: int,
    kept: bool,
    forgets: bool,
) -> None:
    broker = mosquitto(*(persistent(tmp_path) if kept else SETTINGS))
    fleet = case(fault, broker.url)
    fleet.start(2, *SLOW, "--max-delay", "0.5")
    with fleet.publisher(FRAMES * times, "--fps", "100") as publisher:
        fleet.wait_answers(FRAMES // 3)
        fleet.strike()
        broker.stop(signum)
        taken = count(broker, "Sending PUBACK to nanofleet-publisher")
        assert taken > len(fleet.counts), "it held no frame"
        if forgets:
            (tmp_path / "database" / "mosquitto.db").unlink()
        time.sleep(outage(1))
        broker.start()
        fleet.finish(publisher)
    assert f"answered {FRAMES * times}, rejected 0, missing 0" in fleet.said()
    if not kept or forgets:
        assert "has lost its state: what is unanswered is sent again" in fleet.said()


def test_a_queue_that_overflows(mosquitto: Callable[..., Mosquitto], case: Callable[..., Case]) -> None:
    broker = mosquitto("allow_anonymous true", "max_queued_messages 5", "max_inflight_messages 5")
    fleet = case("broker's queue of 5 messages overflows", broker.url)
    fleet.start(1, "--max-batch", "9", "--max-delay", "0.3", "--window", "8")
    fleet.strike()
    with fleet.publisher(30, "--window", "30", "--resend-after", "1") as publisher:
        fleet.finish(publisher)
    assert "answered 30, rejected 0, missing 0" in fleet.said()
    assert count(broker, "Outgoing messages are being dropped for client nanofleet-worker") > 0


def test_a_worker_that_may_not_read(
    mosquitto: Callable[..., Mosquitto], case: Callable[..., Case], root: str, tmp_path: Path
) -> None:
    """Mosquitto deals it frames all the same and drops them: only asking again helps."""
    acl = tmp_path / "acl"
    acl.write_text(
        f"topic readwrite {root}/#\nuser blind\ntopic write {root}/#\ntopic read {root}/workers/#\n"
    )
    broker = mosquitto(*SETTINGS, f"acl_file {acl}")
    fleet = case("one of two workers may not read the frames", broker.url)
    fleet.start(1)
    (blind,) = fleet.start(1, url=broker.url.replace("mqtt://", "mqtt://blind@"))
    fleet.strike()
    with fleet.publisher(20, "--resend-after", "0.5") as publisher:
        fleet.finish(publisher)
    assert "answered 20, rejected 0, missing 0" in fleet.said()
    assert sends(broker) > 20, "no frame went the wrong way"
    assert all(heard.answer.worker != blind.id for heard in fleet.answers)


@pytest.mark.parametrize("broker", ["mosquitto", EMBEDDED])
def test_the_publisher_is_killed(
    request: pytest.FixtureRequest, case: Callable[..., Case], broker: str, times: int
) -> None:
    """All that the spool has ever taken, by the numbers of its files, is answered in this run or the next."""
    url = request.getfixturevalue(f"{broker}_url")
    where = "embedded broker: " if broker == "embedded" else ""
    fleet = case(f"{where}publisher killed in the middle, and started again", url)

    def spool() -> List[Path]:
        return sorted((fleet.folder / "spool").rglob("*.frame"))

    with fleet.publisher(FRAMES * times) as publisher:
        wait_for(spool, 30, "frames in the spool")
        fleet.start(2, *SLOW)
        fleet.wait_answers(FRAMES // 3)
        fleet.strike()
        publisher.kill()
        publisher.wait()
    left = {file.stem.split("-", 1)[1] for file in spool()}
    taken = int(spool()[-1].stem.split("-", 1)[0])
    fleet.sent, fleet.told = left, {}
    wait_for(lambda: len(left | set(fleet.counts)) == taken, 30, f"{taken} frames answered or left")
    fleet.sent = left | set(fleet.counts)
    with fleet.publisher(1) as publisher:
        fleet.finish(publisher)
    assert not spool()
    assert not fleet.unanswered


def test_the_disk_under_the_spool_is_full(
    case: Callable[..., Case], mosquitto_url: str, small_disk: Path
) -> None:
    """Nobody answers at first: it takes what the disk holds, says so, and loses none of that."""
    fleet = case("disk full under the spool", mosquitto_url)
    fleet.images = [image + bytes(50_000) for image in fleet.images]
    with fleet.publisher(100, "--spool-dir", str(small_disk), "--window", "200") as publisher:
        wait_for(lambda: "No space left" in fleet.said(), 30, "a word about the disk")
        assert 10 < len(list(small_disk.rglob("*.frame"))) < 50
        fleet.strike()
        fleet.start(1)
        fleet.finish(publisher)
    assert "taking no frames until there is room" in fleet.said()
    assert "answered 100, rejected 0, missing 0" in fleet.said()
