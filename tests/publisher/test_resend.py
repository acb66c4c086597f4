"""What has no answer is sent again, by this run or the next, until it has one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest

from publisher import spooling
from publisher.publisher import Publisher
from publisher.spool import Spool
from tests.harness import Mosquitto, nanofleet, wait_for
from tests.publisher.answerer import Answerer, frame_ids, kept
from wire.broker import BrokerSettings
from wire.topics import Topics


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
        wait_for(lambda: all(each.answer for each in sent), what="four answers")
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
