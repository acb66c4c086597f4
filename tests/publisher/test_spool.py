"""The spool: what it has taken is there after a kill, a full disk or a restart, until its answer comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from fleet.ports import free_port
from publisher import spooling
from publisher.publisher import Publisher
from publisher.settings import PublishSettings
from publisher.spool import Spool, SpoolFull
from tests.harness import Mosquitto, nanofleet, wait_for
from tests.publisher.test_publish import Answerer
from wire.broker import BrokerSettings
from wire.errors import SettingsError
from wire.topics import Topics


def put(spool: Spool, name: str, image: bytes = b"image") -> None:
    spool.put(name, "door", f"{name}.jpg", "2026-01-01T00:00:00+00:00", image)


def test_frames_outlive_the_process_in_their_order(tmp_path: Path) -> None:
    with Spool(tmp_path, 10_000) as spool:
        for name in "cab":
            put(spool, name, f"{name}\n\0 bytes".encode())
        spool.remove("a")
        identity = spool.client_id
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["c", "b"]
        kept = spool.kept["c"]
        assert (kept.camera, kept.source) == ("door", "c.jpg")
        assert spool.image(kept) == b"c\n\0 bytes"
        assert spool.client_id == identity
        put(spool, "d")
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["c", "b", "d"]


def test_two_publishers_have_a_spool_each_and_the_next_gathers_both(tmp_path: Path) -> None:
    with Spool(tmp_path, 10_000) as first, Spool(tmp_path, 10_000) as second:
        assert first.client_id != second.client_id
        put(first, "a")
        put(second, "b")
    with Spool(tmp_path, 10_000) as both:
        assert sorted(both.kept) == ["a", "b"]


def test_a_frame_that_cannot_be_removed_is_told_and_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, 10_000) as spool:
        put(spool, "a")
        file = spool.kept["a"].file
        file.unlink()
        file.mkdir()  # stands for a file system that has become read-only
        spool.remove("a")
        assert not spool.kept
    assert f"{file}: Is a directory: it is done with, but stays" in caplog.text


def test_its_size_is_bounded(tmp_path: Path) -> None:
    with Spool(tmp_path, 2000) as spool:
        put(spool, "a", bytes(1000))
        with pytest.raises(SpoolFull, match="--spool-size"):
            put(spool, "b", bytes(1000))
        assert list(spool.kept) == ["a"]
        oldest = spool.drop_oldest()
        assert oldest is not None
        assert oldest.frame_id == "a"
        put(spool, "b", bytes(1000))
        assert spool.drop_oldest() is not None
        assert spool.drop_oldest() is None


def test_a_frame_larger_than_the_spool_costs_no_other(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool, "--timeout", "1"]
    policy = ["--spool-policy", "drop-oldest", "--spool-size", "50000"]
    nanofleet("publish", str(images), *policy, *address)
    assert len(kept(tmp_path)) == 20
    (tmp_path / "panorama.jpg").write_bytes(bytes(50_000))
    run = nanofleet("publish", str(tmp_path / "panorama.jpg"), *policy, *address)
    assert run.returncode == 1
    assert "bytes, and the spool holds 50,000 (--spool-size)" in run.stderr
    assert len(kept(tmp_path)) == 20


def test_a_fleet_that_returns_after_long_gets_frames_at_once(
    mosquitto_url: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames that are out hold the whole window, and nobody took them time and again."""
    monkeypatch.setattr(spooling, "UNTAKEN_SECONDS", 0.1)
    monkeypatch.setattr(spooling, "MAX_UNTAKEN_SECONDS", 0.2)
    broker = BrokerSettings(broker=mosquitto_url).open_broker()
    with Spool(tmp_path, 10_000) as spool, Publisher(
        broker, Topics(root), ["door"], window=2, timeout=60, spool=spool
    ) as publisher:
        publisher.connection.wait_connected(threading.Event())
        sent = [publisher.send("door", b"image", "", live=True) for _ in range(4)]
        wait_for(lambda: sent[0].tries >= 12, 20, "doubled each time, the twelfth would come after minutes")
        sent[0].tries = 5000  # after a day without a fleet
        answerer = Answerer(mosquitto_url, root)
        wait_for(lambda: all(each.answer for each in sent), 20, "four answers")
    answerer.close()


def test_frames_that_vanish_from_the_spool_or_cannot_be_read_hold_up_no_other(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    nanofleet("publish", str(images), "--timeout", "1", *address)
    gone, damaged = kept(tmp_path)[:2]
    command = [sys.executable, "-m", "fleet", "publish", str(images), "--resend-after", "3", *address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) == 40, what="40 frames in the spool")
        gone.unlink()
        damaged.unlink()
        damaged.mkdir()  # stands for a bad disk: it is there, and cannot be read
        answerer = Answerer(mosquitto_url, root)
        output, errors = publisher.communicate(timeout=60)
    answerer.close()
    assert publisher.returncode == 1
    assert "sent 40, answered 38" in output
    assert "lost from the spool 2" in output
    assert "Is a directory" in errors
    assert [file.is_dir() for file in kept(tmp_path)] == [True]


def test_half_a_frame_is_none_and_a_strange_file_is_named(tmp_path: Path) -> None:
    with Spool(tmp_path, 10_000) as spool:
        put(spool, "a")
    (tmp_path / "1" / ".00000000000000000009-b.frame.part").write_bytes(b"{")
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["a"]
    assert not list((tmp_path / "1").glob(".*.part"))
    (tmp_path / "1" / "00000000000000000009-b.frame").write_bytes(b"{")
    with pytest.raises(SettingsError, match=r"-b\.frame"), Spool(tmp_path, 10_000):
        pass


def test_a_full_disk_refuses_and_frees_what_is_answered(small_disk: Path) -> None:
    with Spool(small_disk, 1 << 40) as spool:

        def fill() -> None:
            for number in range(100):
                put(spool, f"f{number}", bytes(100_000))

        with pytest.raises(SpoolFull, match="No space left"):
            fill()
        taken = [f"f{number}" for number in range(len(spool.kept))]
        assert list(spool.kept) == taken
        assert len(taken) > 5
        spool.remove("f0")
        put(spool, "again", bytes(100_000))
    with Spool(small_disk, 1 << 40) as spool:
        assert list(spool.kept) == [*taken[1:], "again"]
        assert all(spool.image(kept) == bytes(100_000) for kept in spool.kept.values())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--spool-dir"), Spool(tmp_path / "file", 10):
        pass


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def answerer(mosquitto_url: str, root: str) -> Iterator[Answerer]:
    started = Answerer(mosquitto_url, root)
    yield started
    started.close()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0 image %d" % number)
    return folder


@pytest.fixture
def spool(tmp_path: Path) -> List[str]:
    return ["--spool-dir", str(tmp_path / "spool")]


def frame_ids(answerer: Answerer) -> Counter[str]:
    return Counter(dict(m.properties.UserProperty)["frame-id"] for m in answerer.messages)


def kept(tmp_path: Path) -> List[Path]:
    return sorted((tmp_path / "spool").rglob("*.frame"))


def test_what_nobody_takes_stays_and_goes_out_with_the_next_run(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    run = nanofleet("publish", str(images), "--timeout", "1", *address)
    assert run.returncode == 1, run.stderr
    assert "no answer for 1 s (--timeout): 20 frames stay in the spool, and the next run" in run.stdout
    assert len(kept(tmp_path)) == 20
    answerer = Answerer(mosquitto_url, root)
    (tmp_path / "one.jpg").write_text("one more")
    run = nanofleet("publish", str(tmp_path / "one.jpg"), "--resend-after", "0.5", *address)
    answerer.close()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "sent 21, answered 21, rejected 0, missing 0, 20 of them from an earlier run" in run.stdout
    assert kept(tmp_path) == []


def test_a_timeout_below_the_delay_of_the_first_resend_sends_what_was_left(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    assert nanofleet("publish", str(images), "--timeout", "1", *address).returncode == 1
    answerer = Answerer(mosquitto_url, root)
    command = ["publish", str(images / "00.jpg"), "--resend-after", "4", "--timeout", "2", *address]
    run = nanofleet(*command)
    answerer.close()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "sent 21, answered 21" in run.stdout


def test_fleets_share_no_spool() -> None:
    settings = [PublishSettings(sources=["a.jpg"], root=root) for root in ("site_1", "site-1")]
    assert len({each.spool_folder for each in settings}) == 2


def test_a_publisher_that_is_killed_loses_nothing_it_took(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    broker = mosquitto()
    address = ["--broker", broker.url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), "--window", "5", *address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as publisher:
        wait_for(lambda: len(kept(tmp_path)) == 5, what="five frames in the spool")
        publisher.kill()
    answerer = Answerer(broker.url, root)
    run = nanofleet("publish", str(images / "00.jpg"), "--resend-after", "1", *address)
    answerer.close()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "answered 6" in run.stdout
    assert len(frame_ids(answerer)) == 6
    assert kept(tmp_path) == []


def test_answers_that_came_after_the_kill_wait_with_the_broker(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    """So the next run need not send those frames again."""
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *address]
    frames: Any = Answerer(mosquitto_url, root)
    answer, frames.client.on_message = frames.client.on_message, lambda c, u, m: frames.messages.append(m)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as publisher:
        wait_for(lambda: len(frames.messages) == 20, what="20 frames")
        publisher.kill()
    for message in list(frames.messages):
        answer(frames.client, None, message)
    time.sleep(0.5)
    sent = len(frame_ids(frames))
    run = nanofleet("publish", str(images / "00.jpg"), "--resend-after", "600", "--timeout", "5", *address)
    frames.close()
    assert sent == 20
    assert "20 of them from an earlier run" in run.stdout
    assert "answered 20" in run.stdout
    assert len(kept(tmp_path)) == 1  # the new one, which nobody has answered


def test_silence_is_asked_again_with_growing_delays(
    mosquitto_url: str, root: str, spool: List[str], tmp_path: Path, answerer: Answerer
) -> None:
    (tmp_path / "silence.jpg").write_text("silence")
    times: List[float] = []
    answerer.client.on_message = lambda c, u, m: times.append(time.monotonic())
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    run = nanofleet(
        "publish", str(tmp_path / "silence.jpg"), "--resend-after", "0.5", "--timeout", "5", *address
    )
    assert run.returncode == 1
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert len(gaps) == 3, gaps  # after 0.5, 1 and 2 s; the next would be after 4 more
    assert all(later > 1.5 * earlier for earlier, later in zip(gaps, gaps[1:]))


def test_a_camera_that_outruns_a_silent_fleet_fills_the_spool_and_drops_the_oldest(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    policy = ["--spool-policy", "drop-oldest", "--spool-size", "1000", "--fps", "50", "--timeout", "1"]
    run = nanofleet("publish", str(images), *policy, *address)
    assert run.returncode == 1
    assert "dropped to make room" in run.stdout
    sources = [file.read_bytes().partition(b"\n")[2] for file in kept(tmp_path)]
    assert sources
    assert sources == [b"\xff\xd8\xff\xe0 image %d" % n for n in range(20 - len(sources), 20)]
    policy[1] = "refuse"
    run = nanofleet("publish", str(images), *policy, *address)
    assert run.returncode == 1
    assert "not taken because the spool was full 20" in run.stdout


def test_no_wait_needs_no_spool(mosquitto_url: str, images: Path) -> None:
    run = nanofleet("publish", str(images), "--no-wait", "--broker", mosquitto_url)
    assert run.returncode == 2
    assert "--no-wait needs --no-spool" in run.stderr


def test_without_a_broker_frames_are_kept_for_when_there_is_one(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    broker = mosquitto("allow_anonymous true")
    broker.stop()
    command = [sys.executable, "-m", "fleet", "publish", str(images), "--broker", broker.url, "--root", root]
    with subprocess.Popen([*command, *spool], stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) == 20, what="20 frames in the spool")
        broker.start()
        answerer = Answerer(broker.url, root)
        output, _ = publisher.communicate(timeout=60)
    answerer.close()
    assert publisher.returncode == 0, output
    assert "sent 20, answered 20, rejected 0, missing 0" in output
    assert not kept(tmp_path)


@pytest.mark.parametrize("window", ["64", "5"])
def test_a_broker_that_is_not_there_is_named_and_frames_are_kept(
    window: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    command = ["publish", str(images), "--broker", url, "--timeout", "1", "--window", window, *spool]
    run = nanofleet(*command)
    assert run.returncode == 1
    taken = min(20, int(window))
    assert len(kept(tmp_path)) == taken
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"nanofleet publish: {url}: not reached within 1 s: ")
    (folder,) = {file.parent.parent for file in kept(tmp_path)}
    assert f"{taken} frames stay in the spool, and the next run sends them: {folder}" in last
    not_sent = f", not sent {20 - taken}" if taken < 20 else ""
    assert f"sent {taken}, answered 0, rejected 0, missing {taken}{not_sent}\n" in run.stdout


def test_a_loop_waits_for_a_broker_that_comes_later(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    broker = mosquitto()
    broker.stop()
    flags = ["--loop", "--fps", "20", "--timeout", "1", "--broker", broker.url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) > 80, what="four seconds of frames")
        broker.start()
        answerer = Answerer(broker.url, root)
        wait_for(lambda: len(frame_ids(answerer)) > 80, what="all of them")
        publisher.send_signal(signal.SIGINT)
        publisher.communicate(timeout=30)
    answerer.close()


def test_a_loop_ends_where_a_broker_that_comes_later_refuses_it(
    mosquitto: Callable[..., Mosquitto], root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    """It would fill the spool, and send nothing for ever."""
    broker = mosquitto("allow_anonymous false")
    broker.stop()
    flags = ["--loop", "--fps", "20", "--broker", broker.url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: kept(tmp_path), what="a frame in the spool")
        broker.start()
        try:
            _, errors = publisher.communicate(timeout=60)
        finally:
            publisher.kill()
    assert publisher.returncode == 3
    assert "not authorised" in errors
    assert f"{len(kept(tmp_path))} frames stay in the spool" in errors


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_says_what_stays(
    signum: int, code: int, mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    command = [sys.executable, "-m", "fleet", "publish", str(images), *address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(kept(tmp_path)) == 20, what="20 frames in the spool")
        publisher.send_signal(signum)
        output, _ = publisher.communicate(timeout=20)
    assert publisher.returncode == code
    (folder,) = {file.parent.parent for file in kept(tmp_path)}
    assert f"20 frames stay in the spool, and the next run sends them: {folder}\n" in output
    assert len(kept(tmp_path)) == 20


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_a_spool_a_signal_says_what_was_not_answered(
    signum: int, code: int, mosquitto_url: str, root: str, images: Path, tmp_path: Path
) -> None:
    (images / "01.jpg").write_text("silence")
    answerer = Answerer(mosquitto_url, root)
    address = ["--broker", mosquitto_url, "--root", root, "--no-spool", "--wait"]
    command = [sys.executable, "-m", "fleet", "publish", str(images / "00.jpg"), str(images / "01.jpg")]
    with subprocess.Popen([*command, *address], stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout
        assert "00.jpg" in publisher.stdout.readline()
        wait_for(lambda: len(answerer.messages) == 2, what="both frames")
        publisher.send_signal(signum)
        output, _ = publisher.communicate(timeout=20)
    answerer.close()
    assert publisher.returncode == code
    assert "sent 2, answered 1, rejected 0, missing 1" in output
    assert "1 of the frames that were sent was not answered, and nobody sends it again" in output
