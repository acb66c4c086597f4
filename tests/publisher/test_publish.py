"""The publish command against a real broker; the other side is plain paho, or nobody."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, List

from publisher.publisher import Publisher
from tests.fleets import Fleet
from tests.harness import Mosquitto, nanofleet, wait_for
from tests.publisher.answerer import Answerer
from wire.broker import BrokerSettings
from wire.messages import utc_now
from wire.topics import Topics


def test_all_answered(answerer: Answerer, address: List[str], image: Callable[[str], str]) -> None:
    cameras = ["--camera", "door,garden"]
    run = nanofleet("publish", image("one"), image("two"), image("three"), "--wait", *cameras, *address)
    assert run.returncode == 0, run.stderr
    assert re.search(r"sent 3, answered 3, rejected 0, missing 0; p50 \d+ ms, p95 \d+ ms", run.stdout)
    assert run.stdout.count("cup 0.50") == 3
    assert [(m.topic.rsplit("/", 1)[1], m.payload) for m in answerer.messages] == [
        ("door", b"one"),
        ("garden", b"two"),
        ("door", b"three"),
    ]
    properties = [dict(m.properties.UserProperty) for m in answerer.messages]
    assert len({p["frame-id"] for p in properties}) == 3
    assert all("captured-at" in p for p in properties)


def test_rejected_or_missing_is_not_answered(
    answerer: Answerer, address: List[str], image: Callable[[str], str]
) -> None:
    sources = [image("good"), image("bad"), image("silence")]
    run = nanofleet("publish", *sources, "--wait", "--timeout", "1", *address)
    assert run.returncode == 1
    assert "sent 3, answered 1, rejected 1, missing 1" in run.stdout
    assert "rejected: not_an_image (text)" in run.stdout


def test_a_frame_is_waited_for_until_it_is_reported(
    answerer: Answerer, mosquitto_url: str, root: str
) -> None:
    """A summary that comes before the last report would count a frame as missing."""
    waited_for: List[int] = []
    with Publisher(
        BrokerSettings(broker=mosquitto_url).open_broker(),
        Topics(root),
        ["door"],
        window=1,
        timeout=30,
        on_done=lambda sent: waited_for.append(publisher.unanswered),
    ) as publisher:
        publisher.send("door", b"cup", "cup.jpg")
        publisher.wait()
        assert waited_for == [1]
        assert publisher.unanswered == 0


def test_a_missing_answer_does_not_block_the_rest(
    answerer: Answerer, address: List[str], image: Callable[[str], str]
) -> None:
    sources = [image("silence"), image("one"), image("two")]
    run = nanofleet("publish", *sources, "--no-spool", "--wait", "--window", "1", "--timeout", "1", *address)
    assert run.returncode == 1
    assert "sent 3, answered 2, rejected 0, missing 1" in run.stdout


def test_without_waiting_it_says_whether_somebody_was_there(
    answerer: Answerer, mosquitto_url: str, address: List[str], image: Callable[[str], str]
) -> None:
    run = nanofleet("publish", image("one"), "--no-wait", "--no-spool", *address)
    assert run.returncode == 0, run.stderr
    assert "sent 1, taken by the broker 1" in run.stdout
    run = nanofleet(
        "publish", image("one"), "--no-wait", "--no-spool", "--broker", mosquitto_url, "--root", "nobody-here"
    )
    assert run.returncode == 1
    assert "for nobody 1" in run.stdout


def test_each_try_says_when_it_was_sent(answerer: Answerer, address: List[str], image: Any) -> None:
    before = utc_now()
    path = image("silence")
    nanofleet(
        "publish", path, "--spool-dir", f"{path}-spool", "--resend-after", "0.5", "--timeout", "2", *address
    )
    times = [dict(message.properties.UserProperty) for message in answerer.messages]
    captured = {datetime.fromisoformat(each["captured-at"]) for each in times}
    sent = [datetime.fromisoformat(each["sent-at"]) for each in times]
    assert len(captured) == 1
    assert before < captured.pop() <= sent[0] < sent[1] < utc_now()
    assert (sent[1] - sent[0]).total_seconds() > 0.4


def test_stdin(answerer: Answerer, address: List[str], photos: Path) -> None:
    command = [sys.executable, "-m", "fleet", "publish", "-", "--wait", *address]
    with (photos / "rocket.jpg").open("rb") as picture:
        subprocess.run(command, stdin=picture, check=True, capture_output=True, timeout=60)
    assert [m.payload for m in answerer.messages] == [(photos / "rocket.jpg").read_bytes()]


def test_a_full_disk_behind_stdout_is_named(answerer: Answerer, address: List[str], photos: Path) -> None:
    command = [sys.executable, "-m", "fleet", "publish", str(photos / "coffee.png"), *address]
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == "nanofleet publish: stdout: No space left on device\n"


def test_too_large_for_the_broker(
    mosquitto: Callable[..., Mosquitto],
    fleet: Fleet,
    root: str,
    photos: Path,
) -> None:
    broker = mosquitto("allow_anonymous true", "max_packet_size 100000")
    listener = fleet.at(broker.url).listen("frames/+")
    photo, small = str(photos / "motorcycle_left.png"), str(photos / "clock_motion.png")
    address = ["--broker", broker.url, "--root", root, "--no-wait", "--no-spool"]
    run = nanofleet("publish", photo, small, *address)
    assert run.returncode == 1
    assert "motorcycle_left.png" in run.stderr
    assert "--max-side" in run.stderr
    assert "sent 1, taken by the broker 1, not sent 1" in run.stdout
    wait_for(lambda: listener.messages, what="the frame that is small enough")
    run = nanofleet("publish", photo, "--max-side", "320", *address)
    assert run.returncode == 0, run.stderr
    wait_for(lambda: len(listener.messages) == 2, what="the shrunk frame")
    assert Counter(m.payload[:3] for m in listener.messages) == {b"\x89PN": 1, b"\xff\xd8\xff": 1}


def test_a_bad_file_costs_itself(
    answerer: Answerer, address: List[str], photos: Path, tmp_path: Path
) -> None:
    rocket = (photos / "rocket.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(rocket)
    (tmp_path / "b.jpg").write_bytes(b"<html>")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "none.jpg")
    (tmp_path / "d").write_bytes(rocket)
    (tmp_path / "e.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    run = nanofleet("publish", str(tmp_path), "--wait", *address)
    assert run.returncode == 1
    assert "sent 2, answered 2, rejected 0, missing 0, not sent 2" in run.stdout
    assert len(answerer.messages) == 2
    for name in ("b.jpg", "c.jpg", "1 HEIC file is not sent"):
        assert name in run.stderr


def test_files_that_vanish_before_their_turn(
    answerer: Answerer, address: List[str], image: Callable[[str], str]
) -> None:
    sources = [image("one"), image("two"), image("three")]
    command = [sys.executable, "-m", "fleet", "publish", *sources, "--fps", "0.5", "--wait", *address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: answerer.messages, what="a first frame")
        Path(sources[1]).unlink()
        output, errors = publisher.communicate(timeout=60)
    assert publisher.returncode == 1
    assert "sent 2, answered 2, rejected 0, missing 0, not sent 1" in output
    assert "two.jpg: not sent: No such file or directory" in errors
    assert [m.payload for m in answerer.messages] == [b"one", b"three"]


def test_refused_by_the_broker(mosquitto: Callable[..., Mosquitto], image: Callable[[str], str]) -> None:
    broker = mosquitto("allow_anonymous false")
    run = nanofleet("publish", image("one"), "--broker", broker.url)
    assert run.returncode == 3
    assert "password" in run.stderr
