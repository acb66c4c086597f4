"""How old a frame is by two clocks: which part of that is age, and which the clocks' difference."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Optional

import pytest

from wire.mqtt.packets import Delivery
from worker.delivery.clocks import MOST_CAMERAS, Clocks
from worker.delivery.frame import Frame

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
DAY = 86_400.0
HOUR = 3600.0


class Machine:
    """A worker's machine, whose time is in the test's hands, and the frames that come to it."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        #: How far its own clock is ahead of the true one.
        self.ahead = 0.0
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Start the worker again."""
        clock = lambda: NOON.timestamp() + self.seconds + self.ahead  # noqa: E731
        self.clocks = Clocks(self.folder / "w.clocks", DAY, clock, lambda: self.seconds)

    def age(
        self,
        captured: float,
        *,
        sent: Optional[float] = None,
        camera: str = "door",
        longest_wait: Optional[float] = 0.0,
    ) -> float:
        """The age of a frame that comes now, from how many seconds ago its sender says it was captured."""
        frame = Frame.receive(Delivery("t", b"", qos=1, retain=False, mid=1, epoch=1), camera)
        now = NOON + timedelta(seconds=self.seconds)
        frame.received_ticks, frame.longest_wait = self.seconds, longest_wait
        frame.captured_at = now - timedelta(seconds=captured)
        frame.sent_at = None if sent is None else now - timedelta(seconds=sent)
        self.clocks.judge(frame)
        return frame.age_received


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("wrong", [HOUR, -HOUR, 56 * 365 * DAY])
def test_a_clock_that_is_wrong_makes_no_frame_old(
    machine: Machine, wrong: float, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        machine.seconds += 1
        assert machine.age(wrong + 0.1) < 0.2
    assert machine.clocks.widest() == pytest.approx(abs(wrong + 0.1), abs=0.01)
    assert [record.message.split(";")[0].split(" seems")[0] for record in caplog.records] == [
        "the clock of camera door"
    ], "once"
    machine.seconds += HOUR
    machine.age(wrong)
    assert len(caplog.records) == 2, "and again an hour later"


def test_a_clock_that_is_right_costs_no_warning(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    for late in (0.1, 1.5, 0.3):
        machine.seconds += 1
        assert machine.age(late) <= late
    assert caplog.records == []
    assert machine.clocks.widest() < 2


@pytest.mark.parametrize("wrong", [0.0, HOUR])
def test_what_the_broker_has_kept_is_old_whatever_the_clock_says(machine: Machine, wrong: float) -> None:
    assert machine.age(wrong) == 0
    for waited in (HOUR, 60.0, 1.0):
        machine.seconds += HOUR
        assert machine.age(wrong + waited, longest_wait=HOUR) == pytest.approx(waited)
        assert machine.age(wrong + waited, longest_wait=None) == pytest.approx(waited)
    machine.seconds += 1
    assert machine.age(wrong) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("wrong", [0.0, HOUR])
def test_what_its_sender_has_kept_is_old_if_it_says_so(machine: Machine, wrong: float) -> None:
    assert machine.age(wrong + HOUR, sent=wrong) == pytest.approx(HOUR), "also its first"
    machine.seconds += 100
    assert machine.age(wrong + 50, sent=wrong) == pytest.approx(50, abs=0.1)
    assert machine.age(wrong, sent=wrong) == pytest.approx(0, abs=0.1)


def test_a_sender_that_falls_behind_makes_frames_old(machine: Machine) -> None:
    """Each frame comes a little later than the one before: its times run on, and no clock was set."""
    machine.age(0)
    for late in range(1, 60):
        machine.seconds += 2
        age = machine.age(float(late))
    assert age == pytest.approx(59, abs=2)
    machine.seconds += 0.1
    assert machine.age(0) == 0, "and those that come in time are fresh"


@pytest.mark.parametrize("silence", [0.2, 2 * HOUR])
def test_a_clock_that_is_set_back_makes_no_frame_old(machine: Machine, silence: float) -> None:
    machine.age(0)
    machine.seconds += silence
    assert machine.age(HOUR) == pytest.approx(0)
    machine.seconds += 0.2
    assert machine.age(HOUR) == pytest.approx(0)
    machine.seconds += 0.2
    assert machine.age(0) == 0, "and is set right again"


def test_a_camera_that_stays_late_is_forgiven_in_time(machine: Machine) -> None:
    """Its clock may have been set back by no more than the time between two of its frames."""
    machine.age(0)
    for _ in range(120):
        machine.seconds += 30
        age = machine.age(25)
    assert age < 1


def test_a_clock_that_is_set_back_while_much_waits_makes_no_frame_old(machine: Machine) -> None:
    """Its frames come in the order in which they were sent: one sent before the last one was sent later."""
    machine.age(0)
    machine.seconds += 2 * HOUR
    machine.age(10, longest_wait=HOUR)
    machine.seconds += 1
    assert machine.age(HOUR, longest_wait=HOUR) == pytest.approx(0)
    machine.seconds += 1
    assert machine.age(HOUR, longest_wait=HOUR) == pytest.approx(0)


def test_a_clock_that_was_set_back_in_silence_makes_no_frame_old_once_nothing_waits(machine: Machine) -> None:
    machine.age(0)
    machine.seconds += 2 * HOUR
    machine.age(HOUR, longest_wait=2 * HOUR)  # it may have waited for as long
    machine.seconds += 1
    machine.age(HOUR, longest_wait=2 * HOUR)
    machine.seconds += 1
    assert machine.age(HOUR) == pytest.approx(0), "this one cannot"
    machine.seconds += 1
    assert machine.age(HOUR) == pytest.approx(0)


def test_clocks_that_drift_apart_make_no_frame_old(machine: Machine) -> None:
    for day in range(30):
        for _ in range(24):
            machine.seconds += HOUR
            assert machine.age(day * 5) < 6
    for _ in range(5000):
        machine.seconds += 1
        age = machine.age(150 + machine.seconds / 20_000)
    assert age < 1


def test_the_workers_own_clock_jumps_by_decades(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.ahead = -56 * 365 * DAY
    machine.start()
    assert machine.age(0.1) < 0.2
    assert "days ahead of this worker's" in caplog.text
    machine.seconds += 1
    machine.ahead = 0.0
    assert machine.age(0.1) < 0.2
    assert len(caplog.records) == 1
    assert machine.clocks.widest() < 1
    machine.seconds += 60
    assert machine.age(50, longest_wait=60.0) == pytest.approx(50, abs=1)


def test_the_senders_clock_was_set_between_capture_and_sending(machine: Machine) -> None:
    assert machine.age(56 * 365 * DAY, sent=0.0) == 0


def test_what_was_known_holds_after_a_restart(machine: Machine) -> None:
    machine.age(0.0, camera="right")
    machine.age(HOUR, camera="wrong")
    machine.clocks.note()
    machine.start()
    machine.seconds += 100
    assert machine.age(100.0, camera="right", longest_wait=None) == pytest.approx(100)
    assert machine.age(HOUR + 100, camera="wrong", longest_wait=None) == pytest.approx(100)
    assert machine.age(HOUR + 100, camera="new", longest_wait=None) == 0, "nothing is known of it"
    assert machine.age(DAY + HOUR, camera="right", longest_wait=None) == 0, "no broker keeps one for so long"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"door": null}', b'{"door": [1]}', b"\xff"])
def test_a_note_that_cannot_be_read_is_none(machine: Machine, content: bytes) -> None:
    (machine.folder / "w.clocks").write_bytes(content)
    machine.start()
    assert machine.age(HOUR) == 0


def test_a_note_that_cannot_be_written_costs_a_warning(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    (machine.folder / ".w.clocks.part").mkdir()
    machine.age(0)
    machine.clocks.note()
    machine.clocks.note()
    assert len(caplog.records) == 1
    assert "not noted" in caplog.text


def test_cameras_that_are_made_up_are_bounded(machine: Machine) -> None:
    for number in range(MOST_CAMERAS + 10):
        machine.age(0, camera=f"c{number}")
        machine.age(HOUR, camera="mine")
    machine.clocks.note()
    assert (machine.folder / "w.clocks").read_text().count(":") == MOST_CAMERAS
    assert '"mine"' in (machine.folder / "w.clocks").read_text()


# --- What can have waited -------------------------------------------------------------------------------
