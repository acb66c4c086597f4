"""The publish command against a real broker; the other side is plain paho, or nobody."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Iterator, List

import paho.mqtt.client as mqtt
import pytest

from fleet.ports import free_port
from tests.fleets import Fleet
from tests.harness import Listener, Mosquitto, nanofleet, wait_for
from wire.messages import Candidate, Reason, Rejection, Result, utc_now


class Answerer(Listener):
    """Answers each frame as a worker would, from its size alone; bytes that say "silence" get nothing."""

    def __init__(self, url: str, root: str) -> None:
        self.root = root
        super().__init__(url, f"{root}/frames/+")
        self.client.on_message = self._answer

    def _answer(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        self.messages.append(message)
        camera = message.topic.rsplit("/", 1)[1]
        common = {
            "frame_id": dict(message.properties.UserProperty)["frame-id"],
            "camera": camera,
            "worker": "paho",
            "received_at": utc_now(),
        }
        if b"silence" in message.payload:
            return
        if b"bad" in message.payload:
            rejection = Rejection(reason=Reason.NOT_AN_IMAGE, detail="text", **common)
            client.publish(f"{self.root}/rejects/{camera}", rejection.encode(), qos=1)
            return
        best = Candidate(label="cup", index=1, confidence=0.5)
        result = Result(
            **common,
            model="m",
            weights="w",
            label="cup",
            index=1,
            confidence=0.5,
            top=(best,),
            width=1,
            height=1,
            answered_at=utc_now(),
            timings_ms={},
            batch_size=1,
        )
        client.publish(f"{self.root}/results/{camera}", result.encode(), qos=1)


@pytest.fixture
def answerer(mosquitto_url: str, root: str) -> Iterator[Answerer]:
    started = Answerer(mosquitto_url, root)
    yield started
    started.close()


@pytest.fixture
def address(mosquitto_url: str, root: str) -> List[str]:
    return ["--broker", mosquitto_url, "--root", root]


@pytest.fixture
def image(tmp_path: Path) -> Callable[[str], str]:
    """A file with this text; the publisher does not look inside."""

    def make(text: str) -> str:
        path = tmp_path / f"{text}.jpg"
        path.write_text(text)
        return str(path)

    return make


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


def test_a_pace_and_ctrl_c(answerer: Answerer, address: List[str], image: Callable[[str], str]) -> None:
    command = [sys.executable, "-m", "fleet", "publish", image("one"), "--loop", "--fps", "10", "--wait"]
    with subprocess.Popen([*command, *address], stdout=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: answerer.messages, what="a first frame")
        time.sleep(2)
        publisher.send_signal(signal.SIGINT)
        output, _ = publisher.communicate(timeout=10)
    assert publisher.returncode in (0, 1), "a loop has no other end than Ctrl-C"
    assert 10 <= len(answerer.messages) <= 40
    sent = re.search(r"sent (\d+), ", output)
    assert sent
    assert abs(int(sent.group(1)) - len(answerer.messages)) <= 1, "one may have been on its way"


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
        output, errors = publisher.communicate(timeout=30)
    assert publisher.returncode == 1
    assert "sent 2, answered 2, rejected 0, missing 0, not sent 1" in output
    assert "two.jpg: not sent: No such file or directory" in errors
    assert [m.payload for m in answerer.messages] == [b"one", b"three"]


def test_refused_by_the_broker(mosquitto: Callable[..., Mosquitto], image: Callable[[str], str]) -> None:
    broker = mosquitto("allow_anonymous false")
    run = nanofleet("publish", image("one"), "--broker", broker.url)
    assert run.returncode == 3
    assert "password" in run.stderr


@pytest.mark.parametrize("flags", [["--wait"], ["--no-wait"], ["--loop"]])
def test_without_a_spool_a_broker_that_is_not_there_is_named(
    flags: List[str], image: Callable[[str], str]
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    run = nanofleet("publish", image("one"), "--no-spool", *flags, "--broker", url, "--timeout", "1")
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"nanofleet publish: {url}: not reached within 1 s: ")
    assert "Connection refused" in last


def test_without_a_spool_a_broker_that_goes_for_good_ends_the_waiting(
    mosquitto: Callable[..., Mosquitto], root: str, image: Callable[[str], str]
) -> None:
    broker = mosquitto()
    answerer = Answerer(broker.url, root)
    flags = ["--no-spool", "--wait", "--timeout", "2", "--broker", broker.url, "--root", root]
    command = [sys.executable, "-m", "fleet", "publish", image("one"), image("silence"), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as publisher:
        wait_for(lambda: len(answerer.messages) == 2, what="both frames")
        broker.stop()
        answerer.close()
        shown, errors = publisher.communicate(timeout=60)
    assert publisher.returncode == 1
    assert "sent 2, answered 1, rejected 0, missing 1" in shown
    assert f"nanofleet publish: {broker.url}: not reached within 2 s" in errors.splitlines()[-1]
