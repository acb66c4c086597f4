"""Brokers that stop, die, forget or drop, and publishers that die: the spool carries what they lose.

The broker comes before the case in each test's arguments: so it is still there when the workers leave.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Callable, List

import pytest

from tests.faults.case import Case
from tests.harness import Mosquitto, wait_for

FRAMES = 300
# As root it may read and write in the tests' folders, which are closed to its own user.
SETTINGS = ("allow_anonymous true", "max_queued_messages 10000", "user root")


def persistent(folder: Path) -> List[str]:
    data = folder / "database"
    data.mkdir()
    return [*SETTINGS, "persistence true", f"persistence_location {data}/", "autosave_interval 1"]


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
    fault: str,
    signum: int,
    kept: bool,
    forgets: bool,
) -> None:
    broker = mosquitto(*(persistent(tmp_path) if kept else SETTINGS))
    fleet = case(fault, broker.url)
    fleet.start(2)
    with fleet.publisher(FRAMES, "--fps", "100") as publisher:
        fleet.wait_answers(FRAMES // 3)
        fleet.strike()
        broker.stop(signum)
        if forgets:
            (tmp_path / "database" / "mosquitto.db").unlink()
        time.sleep(1)
        broker.start()
        fleet.expect(FRAMES)
        code = publisher.wait(120)
    said = fleet.published()
    assert code == 0, said[-2000:]
    assert f"answered {FRAMES}, rejected 0, missing 0" in said
    fleet.count_published()


def test_a_queue_that_overflows(mosquitto: Callable[..., Mosquitto], case: Callable[..., Case]) -> None:
    broker = mosquitto("allow_anonymous true", "max_queued_messages 5", "max_inflight_messages 5")
    fleet = case("broker's queue of 5 messages overflows", broker.url)
    fleet.start(1, "--max-batch", "9", "--max-delay", "0.3", "--window", "8")
    fleet.strike()
    with fleet.publisher(30, "--window", "30", "--resend-after", "1") as publisher:
        fleet.expect(30)
        assert publisher.wait(120) == 0, fleet.published()[-2000:]
    assert "answered 30, rejected 0, missing 0" in fleet.published()
    fleet.count_published()


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
    fleet.start(1, url=broker.url.replace("mqtt://", "mqtt://blind@"))
    fleet.strike()
    with fleet.publisher(20, "--resend-after", "0.5") as publisher:
        fleet.expect(20)
        assert publisher.wait(120) == 0, fleet.published()[-2000:]
    fleet.count_published()


def test_the_publisher_is_killed(case: Callable[..., Case], mosquitto_url: str) -> None:
    fleet = case("publisher killed in the middle, and started again", mosquitto_url)
    with fleet.publisher(FRAMES) as publisher:
        wait_for(lambda: list((fleet.folder / "spool").rglob("*.frame")), 30, "frames in the spool")
        fleet.start(2)
        fleet.wait_answers(FRAMES // 3)
        fleet.strike()
        publisher.kill()
        publisher.wait()
    left = {f.stem.split("-", 1)[1] for f in (fleet.folder / "spool").rglob("*.frame")}
    fleet.sent = dict.fromkeys({*fleet.distinct, *left}, 0.0)
    with fleet.publisher(1) as publisher:
        assert publisher.wait(60) == 0, fleet.published()[-2000:]
    assert not list((fleet.folder / "spool").rglob("*.frame"))
    time.sleep(1.0)
    fleet.sent.update(dict.fromkeys(fleet.distinct, 0.0))  # and the one of the second run
    assert left <= set(fleet.distinct)


def test_the_disk_under_the_spool_is_full(
    case: Callable[..., Case], mosquitto_url: str, small_disk: Path
) -> None:
    """Nobody answers at first: it takes what the disk holds, says so, and loses none of that."""
    fleet = case("disk full under the spool", mosquitto_url)
    fleet.images = [image + bytes(50_000) for image in fleet.images]
    with fleet.publisher(100, "--spool-dir", str(small_disk), "--window", "200") as publisher:
        wait_for(lambda: "No space left" in fleet.published(), 30, "a word about the disk")
        assert 10 < len(list(small_disk.rglob("*.frame"))) < 50
        fleet.strike()
        fleet.start(1)
        fleet.expect(100)
        assert publisher.wait(120) == 0, fleet.published()[-2000:]
    assert "taking no frames until there is room" in fleet.published()
    assert "answered 100, rejected 0, missing 0" in fleet.published()
    fleet.count_published()
