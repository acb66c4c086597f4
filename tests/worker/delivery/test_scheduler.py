"""Frames at work when a worker died: what is kept on disk, and which of them is why."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

import pytest

from wire.errors import DuplicateMember, NanofleetError, SettingsError
from wire.mqtt.packets import Delivery
from worker.delivery.crash_journal import CrashJournal
from worker.delivery.frame import Frame
from worker.delivery.scheduler import Scheduler
from worker.errors import Poison
from worker.watchdog import Stalled


def frame(name: str, camera: str = "door") -> Frame:
    return Frame.receive(Delivery("t", name.encode(), qos=1, retain=False, mid=1, epoch=1), camera)


class Process:
    """What a scheduler sees of a worker's process, which has died where it does not `leave`."""

    def __init__(self, folder: Path, capacity: int = 16, window: int = 8, at_work: int = 8) -> None:
        self.working: List[Frame] = []
        self.attempts = CrashJournal(folder / "w1.attempts", capacity)
        self.scheduler = Scheduler(
            self.attempts,
            at_work=min(at_work, window),
            window=window,
            folder=folder / "waiting",
            work=self.working.append,
        )
        self.scheduler.__enter__()

    def take(self, *names: str, camera: str = "door") -> List[Frame]:
        frames = [frame(name, camera) for name in names]
        for each in frames:
            self.scheduler.submit(each)
        return frames

    def leave(self, cause: Optional[BaseException] = None) -> None:
        """End otherwise than by a death."""
        self.scheduler.__exit__(type(cause) if cause else None, cause, None)

    def done(self, *frames: Frame) -> None:
        for each in frames:
            self.working.remove(each)
            self.scheduler.done(each)


@pytest.fixture
def nothing_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the window every payload goes to the disk, however small."""
    monkeypatch.setattr("worker.delivery.scheduler.SPARE", 0)


def names(frames: List[Frame]) -> List[str]:
    return [each.delivery.payload.decode() for each in frames]


def test_without_a_death_all_frames_work_at_once(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.done(*process.take("a", "b", "c"))
    process = Process(tmp_path)
    process.take("a", "b", "c")
    assert names(process.working) == ["a", "b", "c"]


def test_suspects_work_alone_and_the_others_wait_for_them(tmp_path: Path) -> None:
    Process(tmp_path).take("a", "b")
    process = Process(tmp_path)
    new, a, b, newer = process.take("new", "a", "b", "newer")
    assert process.working == [new]
    process.done(new)
    assert process.working == [a]
    process.done(a)
    assert process.working == [b]
    process.done(b)
    assert process.working == [newer]


def test_the_guilty_one_is_rejected_at_its_third_delivery_and_no_other(tmp_path: Path) -> None:
    Process(tmp_path).take("a", "poison", "b")
    process = Process(tmp_path)
    process.done(process.take("a", "poison", "b")[0])
    assert names(process.working) == ["poison"]
    process = Process(tmp_path)
    with pytest.raises(Poison, match="died 2 times"):
        process.take("poison")
    process.scheduler.done(frame("poison"))  # its Rejection is out
    b, c = process.take("b", "c")
    assert process.working == [b]
    process.done(b)
    assert process.working == [c]
    process.done(c)
    assert Process(tmp_path).attempts.deaths(frame("poison")) == 0


def test_suspects_that_never_return_make_room(tmp_path: Path) -> None:
    Process(tmp_path, 4).take("a", "b", "c", "d")
    process = Process(tmp_path, 4)
    for name in "efgh":
        process.done(*process.take(name))
    process.take("e", "f", "g", "h")
    assert names(process.working) == ["e", "f", "g", "h"]


def test_two_copies_of_a_frame_are_no_death(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.take("a", "a")
    assert Process(tmp_path).attempts.deaths(frame("a")) == 1
    process = Process(tmp_path)
    first, second = process.take("a", "a")
    process.done(first)
    process.done(second)
    assert Process(tmp_path).attempts.deaths(frame("a")) == 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--state-dir"):
        Process(tmp_path / "missing")


@pytest.mark.parametrize("cause", [None, KeyboardInterrupt(), DuplicateMember("a duplicate")])
def test_who_leaves_before_the_frames_are_done_has_not_died_with_them(
    tmp_path: Path, cause: Optional[BaseException]
) -> None:
    for _ in range(3):
        process = Process(tmp_path)
        process.take("a", "b")
        assert names(process.working) == ["a", "b"]
        process.leave(cause)


@pytest.mark.parametrize("cause", [MemoryError(), Stalled("the engine")])
def test_what_a_frame_may_have_done_is_a_death(tmp_path: Path, cause: BaseException) -> None:
    process = Process(tmp_path)
    process.take("a", "b")
    process.leave(cause)
    process = Process(tmp_path)
    process.take("a", "b")
    assert names(process.working) == ["a"]


def test_leaving_does_not_clear_a_suspect(tmp_path: Path) -> None:
    Process(tmp_path).take("bad")
    process = Process(tmp_path)
    process.take("bad")
    process.leave(KeyboardInterrupt())
    Process(tmp_path).take("bad")
    with pytest.raises(Poison, match="died 2 times"):
        Process(tmp_path).take("bad")


@pytest.mark.usefixtures("nothing_to_spare")
def test_a_spilled_frame_that_is_gone_is_named(tmp_path: Path) -> None:
    process = Process(tmp_path, window=1)
    first, _ = process.take("a", "b")
    (waiting,) = (tmp_path / "waiting").iterdir()
    waiting.unlink()
    with pytest.raises(NanofleetError, match=f"{waiting}: No such file.*delivers them at the next start"):
        process.done(first)


@pytest.mark.usefixtures("nothing_to_spare")
def test_what_the_window_does_not_hold_waits_on_disk(tmp_path: Path) -> None:
    process = Process(tmp_path, window=2)
    frames = process.take("a", "b", "c", "d")
    assert process.working == frames[:2]
    assert [f.delivery.payload for f in frames] == [b"a", b"b", b"", b""]
    assert frames[2].digest() == frame("c").digest()
    process.done(frames[0], frames[1])
    assert process.working == frames[2:]
    assert [f.delivery.payload for f in frames[2:]] == [b"c", b"d"]
    assert list((tmp_path / "waiting").iterdir()) == []


@pytest.mark.usefixtures("nothing_to_spare")
def test_what_waits_within_the_window_stays_in_memory(tmp_path: Path) -> None:
    process = Process(tmp_path, window=3, at_work=1)
    frames = process.take("a", "b", "c", "d")
    assert process.working == frames[:1]
    assert [f.delivery.payload for f in frames] == [b"a", b"b", b"c", b""]


@pytest.mark.usefixtures("nothing_to_spare")
def test_the_cameras_have_turns(tmp_path: Path) -> None:
    process = Process(tmp_path, window=4, at_work=2)
    flood = process.take(*(f"flood {n}" for n in range(20)), camera="flood")
    (door,) = process.take("door", camera="door")
    hall = process.take("hall 0", "hall 1", camera="hall")
    for expected in (flood[2], door, hall[0], flood[3], hall[1], *flood[4:]):
        process.done(process.working[0])
        assert process.working[-1] is expected
        assert expected.delivery.payload, "and it is in memory again"


def test_a_suspect_waits_for_its_turn_and_works_alone(tmp_path: Path) -> None:
    Process(tmp_path).take("suspect", camera="flood")
    process = Process(tmp_path, at_work=2)
    first, suspect, last = process.take("first", "suspect", "last", camera="flood")
    (door,) = process.take("door", camera="door")
    assert process.working == [first]  # and the others wait until the suspect has had its turn
    process.done(first)
    assert process.working == [suspect]
    process.done(suspect)
    assert process.working == [door, last]


def test_any_number_that_is_done_at_once(tmp_path: Path) -> None:
    """As the stale ones are, which are rejected without any work."""
    process = Process(tmp_path, capacity=5000, at_work=1)
    first, *stale = process.take("first", *map(str, range(4000)))
    process.scheduler._work = process.scheduler.done
    process.done(first)
    assert not process.scheduler.full
    assert process.attempts.deaths(stale[-1]) == 0
    (last,) = process.take("last")
    assert list((tmp_path / "waiting").iterdir()) == []
    assert last.delivery.payload == b"last"


def test_small_frames_beyond_the_window_need_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.delivery.scheduler.SPARE", 10)
    process = Process(tmp_path, window=1)
    frames = process.take("a", "12345", "67890", "1", "2")
    assert [bool(f.delivery.payload) for f in frames] == [True, True, True, False, False]
    process.done(frames[0])
    frames += process.take("34567", "8")
    assert [bool(f.delivery.payload) for f in frames] == [True, True, True, False, False, True, False]
    for each in frames[1:]:
        assert process.working == [each]
        assert each.delivery.payload
        process.done(each)
    assert process.scheduler._waiting_bytes == 0


@pytest.mark.usefixtures("nothing_to_spare")
def test_a_full_disk_keeps_waiting_frames_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = Process(tmp_path, window=1)
    (tmp_path / "waiting").rmdir()
    first, second = process.take("a", "b")
    assert second.delivery.payload == b"b"
    assert "stay in memory" in caplog.text
    process.done(first)
    assert process.working == [second]


@pytest.mark.usefixtures("nothing_to_spare")
def test_what_a_killed_life_has_spilled_is_removed(tmp_path: Path) -> None:
    Process(tmp_path, window=1).take("a", "b", "c")
    process = Process(tmp_path, window=1)
    assert list((tmp_path / "waiting").iterdir()) == []
    process.leave()
    assert not (tmp_path / "waiting").exists()
