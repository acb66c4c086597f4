"""The main job through real brokers: every frame is answered, by workers that share them."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.harness import Listener, Mosquitto, WorkerProcess, need, statuses, wait_for
from wire.messages import Rejection, Result


def with_id(frame_id: str) -> Dict[str, Any]:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("frame-id", frame_id)
    return {"properties": properties}


def results(messages: List[mqtt.MQTTMessage]) -> List[Result]:
    return [Result.decode(m.payload) for m in messages]


def test_photos_get_their_labels(
    broker_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    worker = start_worker(broker_url, "--top-k", "3")
    listener = listen(broker_url, f"{root}/#")
    listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes(), **with_id("cup-1"))
    listener.publish(f"{root}/frames/garden", (photos / "rocket.jpg").read_bytes())
    found = wait_for(lambda: len(m := listener.on(f"{root}/results/")) == 2 and results(m), what="2 results")
    coffee, rocket = sorted(found, key=lambda result: result.camera)
    assert (coffee.frame_id, coffee.camera, coffee.label) == ("cup-1", "door", "espresso")
    assert (rocket.camera, rocket.label) == ("garden", "missile")
    assert coffee.worker == worker.id
    assert coffee.model == "efficientnet_lite0"
    assert (coffee.width, coffee.height) == (600, 400)
    assert coffee.top[0].label == "espresso"
    assert len(coffee.top) == 3
    assert coffee.confidence == coffee.top[0].confidence > 0.7
    assert set(coffee.timings_ms) == {"queue", "decode", "inference", "total"}
    assert coffee.received_at <= coffee.answered_at


def test_plain_clients_speak_3_1_1(
    mosquitto_url: str, root: str, photos: Path, start_worker: Callable[..., WorkerProcess]
) -> None:
    """mosquitto_pub and mosquitto_sub know nothing of us, and MQTT 5 only if told to."""
    start_worker(mosquitto_url)
    port = mosquitto_url.rsplit(":", 1)[1]
    for version in ("311", "5"):
        address = [*("-p", port, "-V", version, "-q", "1")]
        with subprocess.Popen(
            [need("mosquitto_sub"), *address, "-t", f"{root}/results/door", "-C", "1", "-W", "30"],
            stdout=subprocess.PIPE,
        ) as subscriber:
            time.sleep(0.5)
            image = str(photos / "chelsea.png")
            subprocess.run(
                [need("mosquitto_pub"), *address, "-t", f"{root}/frames/door", "-f", image], check=True
            )
            output, _ = subscriber.communicate(timeout=40)
        answer = json.loads(output)
        assert answer["label"] == "Egyptian cat"
        assert answer["schema"] == 1
        assert answer["captured_at"] is None


def test_bad_payloads_are_rejected_once_and_good_ones_answered(
    broker_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    start_worker(broker_url)
    listener = listen(broker_url, f"{root}/results/+", f"{root}/rejects/+")
    good = (photos / "rocket.jpg").read_bytes()
    header = bytearray((photos / "coffee.png").read_bytes())
    header[16:24] = (30_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    bad = {
        "empty": b"",
        "not_an_image": b"this is a text",
        "corrupt_image": good[: len(good) // 2],
        "image_too_large": bytes(header),
        "payload_too_large": bytes(50_000_000),
        "invalid_envelope": b'{"image": "%%%"}',
    }
    for number, (reason, payload) in enumerate(bad.items(), start=1):
        listener.publish(f"{root}/frames/{reason}", payload)
        listener.publish(f"{root}/frames/after", good, **with_id(f"good-{number}"))
        wait_for(
            lambda: len(listener.on(f"{root}/results/")) == number,  # noqa: B023
            what=f"an answer after {reason}",
        )
    # One may come later than the answer to the frame after it.
    wait_for(lambda: len(listener.on(f"{root}/rejects/")) >= len(bad), what="all rejections")
    rejections = [Rejection.decode(m.payload) for m in listener.on(f"{root}/rejects/")]
    assert {r.camera: r.reason.value for r in rejections} == {reason: reason for reason in bad}
    assert len(rejections) == len(bad)
    assert all(r.detail for r in rejections)


def test_500_frames_two_workers_each_answered_once(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    workers = [start_worker(mosquitto_url, worker_id=f"w{n}", wait=False) for n in (1, 2)]
    for worker in workers:
        worker.wait_ready()
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/rejects/+")
    images = [(photos / name).read_bytes() for name in ("rocket.jpg", "coffee.png", "chelsea.png")]

    # Padding makes the frames so large that holding on to each would show beside the allocator's noise.
    padding = bytes(1_000_000)
    resident = [[resident_bytes(worker) for worker in workers]]
    for quarter in (range(125), range(125, 250), range(250, 375), range(375, 500)):
        for n in quarter:
            listener.publish(f"{root}/frames/c{n % 5}", images[n % 3] + padding, **with_id(f"frame-{n}"))
        wait_for(
            lambda: len(listener.messages) == quarter.stop,  # noqa: B023
            120,
            what="125 answers",
        )
        resident.append([resident_bytes(worker) for worker in workers])
    answers = results(listener.on(f"{root}/results/"))
    assert Counter(a.frame_id for a in answers) == Counter(f"frame-{n}" for n in range(500))
    shares = Counter(answer.worker for answer in answers)
    assert set(shares) == {worker.id for worker in workers}
    assert min(shares.values()) > 50
    for worker, *after in zip(workers, *resident):
        print(f"{worker.id}: {shares[worker.id]} frames, MB by quarter {[round(n / 1e6) for n in after]}")
        # The heap settles in its own time, up and down; held frames would show in each quarter.
        received = shares[worker.id] / 4 * len(padding)
        assert min(late - early for early, late in zip(after, after[1:])) < received / 2


def resident_bytes(worker: WorkerProcess) -> int:
    """Resident memory of a worker with its decoders."""
    pids = [worker.process.pid]
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    for tasks in children.parent.parent.glob("*/children"):
        pids += [int(pid) for pid in tasks.read_text().split()]
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        total += int(fields[1]) * 4096
    return total


def test_acks_go_in_the_order_of_receipt(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    """Of frames, rejected frames, strangers' topics and the worker's own status alike [MQTT-4.6.0-2]."""
    # As many frames as there are statuses to wait for: on a busy machine more than a broker queues by itself.
    broker = mosquitto("allow_anonymous true", "max_queued_messages 10000")
    worker = start_worker(broker.url, "--status-interval", "0.1")
    listener = listen(broker.url, f"{root}/results/+", f"{root}/rejects/+", f"{root}/workers/+")
    image = (photos / "rocket.jpg").read_bytes()
    sent = 0
    while sent < 90 or len(listener.on(f"{root}/workers/")) < 6:  # statuses come between the frames
        for camera, payload in (("door", image), ("door", b"text"), ("not a camera", image)):
            listener.publish(f"{root}/frames/{camera}", payload)
            sent += 1

    def answers() -> int:
        return len(listener.on(f"{root}/results/")) + len(listener.on(f"{root}/rejects/"))

    wait_for(lambda: answers() == sent * 2 / 3, 60, what="an answer to two of three")
    assert worker.stop() == 0
    log = broker.log.read_text(errors="replace")
    client = f"nanofleet-worker-{worker.id}"
    delivered = re.findall(rf"Sending PUBLISH to {client} \(d\d, q1, r\d, m(\d+)", log)
    acked = re.findall(rf"Received PUBACK from {client} \(Mid: (\d+)", log)
    assert len(delivered) > sent + 5
    assert acked == delivered[: len(acked)]
    assert len(delivered) - len(acked) <= 1  # its own status `offline`, with which it leaves


def test_sigterm_drains_and_leaves_nothing_behind(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    """Frames that the broker had already given to the leaving worker are answered by it, each once."""
    broker = mosquitto("allow_anonymous true", "max_queued_messages 1000")
    worker = start_worker(broker.url, "--window", "4")
    listener = listen(broker.url, f"{root}/results/+", f"{root}/workers/+")
    image = (photos / "rocket.jpg").read_bytes()
    for n in range(60):
        listener.publish(f"{root}/frames/door", image, **with_id(str(n)))
    assert worker.stop(signal.SIGTERM) == 0
    wait_for(lambda: "offline" in [s.state for s in statuses(listener.messages)], what="its last status")
    answers = results(listener.on(f"{root}/results/"))
    assert Counter(a.frame_id for a in answers) == Counter(str(n) for n in range(60))
    last = statuses(listener.messages)[-2:]
    assert [s.state for s in last] == ["draining", "offline"]
    assert last[-1].latency_seconds is not None
    assert last[-1].latency_seconds > 0
    assert "nanofleet-worker" not in session_names(broker)


def session_names(broker: Mosquitto) -> str:
    """The client ids in the database that Mosquitto writes when it stops with sessions left."""
    broker.stop()
    database = broker.config.parent / "mosquitto.db"
    return database.read_bytes().decode("latin-1") if database.exists() else ""


def test_killed_worker_gets_its_frames_back(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    worker = start_worker(mosquitto_url)
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/workers/+")
    image = (photos / "rocket.jpg").read_bytes()
    for n in range(80):
        listener.publish(f"{root}/frames/door", image, **with_id(str(n)))
    worker.stop(signal.SIGKILL)
    wait_for(lambda: [s.state for s in statuses(listener.messages)][-1:] == ["lost"], what="the will")
    before = {r.frame_id for r in results(listener.on(f"{root}/results/"))}
    assert len(before) < 80, "the kill came too late to show anything"
    worker.start()

    def answered() -> set:
        return {r.frame_id for r in results(listener.on(f"{root}/results/"))}

    wait_for(lambda: answered() == {str(n) for n in range(80)}, 90, what="80 answers")


def test_broker_restart_is_survived(
    mosquitto: Callable[..., Mosquitto],
    root: str,
    photos: Path,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    broker = mosquitto("allow_anonymous true", "persistence true", f"persistence_location {data}/")
    worker = start_worker(broker.url)
    broker.stop()
    worker.wait_said("trying again")
    broker.start()
    worker.wait_said("connected again")
    listener = listen(broker.url, f"{root}/results/+")
    listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes())
    found = wait_for(lambda: results(listener.on(f"{root}/results/")), what="a result")
    assert found[0].label == "espresso"


def test_two_workers_with_one_id_the_older_one_leaves(
    mosquitto_url: str, root: str, tmp_path: Path, start_worker: Callable[..., WorkerProcess]
) -> None:
    """On two machines, so that no lock tells."""
    first = start_worker(mosquitto_url)
    (tmp_path / "elsewhere").mkdir()
    second = WorkerProcess(tmp_path / "elsewhere", mosquitto_url, root, first.id)
    try:
        assert first.process.wait(60) == 4
        assert first.said(f"another worker started as {first.id!r}") or first.said("took the session over")
        second.wait_ready()
        time.sleep(3)
        assert second.process.poll() is None
    finally:
        assert second.stop() == 0


def test_a_status_that_others_have_forged_ends_no_later_start(
    mosquitto_url: str, root: str, start_worker: Callable[..., WorkerProcess], listen: Callable[..., Listener]
) -> None:
    """Where anybody may write it. Neither what is retained nor what waits in the session counts, whatever
    time it tells."""
    worker = start_worker(mosquitto_url, "--status-interval", "0.5")
    listener = listen(mosquitto_url, f"{root}/workers/+")
    own = wait_for(lambda: statuses(listener.messages), what="a status")[-1]
    year_9999 = datetime(9999, 12, 31, tzinfo=timezone.utc)
    forged = own.model_copy(update={"instance": "another", "started_at": year_9999, "sent_at": year_9999})
    listener.publish(f"{root}/workers/{worker.id}", forged.encode(), retain=True)
    assert worker.process.wait(60) == 4
    assert worker.said(f"another worker started as {worker.id!r}, later than this one")
    others = [f"another, {number}" for number in range(3)]
    for instance in others:
        again = forged.model_copy(update={"instance": instance})
        listener.publish(f"{root}/workers/{worker.id}", again.encode(), retain=True)
    known = {own.instance, forged.instance, *others}
    worker.start()
    wait_for(
        lambda: [s.instance in known for s in statuses(listener.messages)].count(False) >= 4,
        60,
        "four statuses of its new life",
    )
    assert worker.process.poll() is None
    assert worker.stop() == 0


@pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")
def test_two_workers_with_one_id_on_the_embedded_broker_are_named(
    embedded_url: str, root: str, tmp_path: Path, start_worker: Callable[..., WorkerProcess]
) -> None:
    """rumqttd tells neither of the other."""
    first = start_worker(embedded_url)
    (tmp_path / "elsewhere").mkdir()
    second = WorkerProcess(tmp_path / "elsewhere", embedded_url, root, first.id)
    try:
        first.wait_said(f"does another worker run as {first.id!r}?")
        second.wait_said(f"does another worker run as {first.id!r}?")
    finally:
        assert second.stop(timeout=40) == 1  # the session is the other's as well, and is not ended


def test_two_workers_with_one_id_on_one_machine(
    mosquitto_url: str, start_worker: Callable[..., WorkerProcess]
) -> None:
    first = start_worker(mosquitto_url)
    twin = subprocess.run(first.command, capture_output=True, text=True, timeout=60, check=False)
    assert twin.returncode == 4
    assert f"process {first.process.pid}" in twin.stderr


@pytest.mark.parametrize("envelope", ["raw base64", "data URI"])
def test_json_frames_and_replies(
    mosquitto_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
    envelope: str,
) -> None:
    start_worker(mosquitto_url)
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/replies/#", f"{root}/elsewhere")
    text = base64.b64encode((photos / "coffee.png").read_bytes()).decode()
    image = text if envelope == "raw base64" else f"data:image/png;base64,{text}"
    frame = {"image": image, "frame_id": "json-1", "captured_at": "2026-01-02T03:04:05Z"}
    for reply_to in (f"{root}/replies/door/1", f"{root}/replies/garden/1", f"{root}/elsewhere"):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = reply_to
        properties.CorrelationData = b"42"
        listener.publish(f"{root}/frames/door", json.dumps(frame).encode(), properties=properties)
    wait_for(lambda: len(listener.on(f"{root}/results/")) == 3, what="3 results")
    (reply,) = listener.on(f"{root}/replies/")
    assert reply.topic == f"{root}/replies/door/1"
    assert listener.on(f"{root}/elsewhere") == []
    assert reply.properties.CorrelationData == b"42"
    answer = Result.decode(reply.payload)
    assert (answer.frame_id, answer.label) == ("json-1", "espresso")
    assert answer.captured_at is not None
    assert answer.captured_at.isoformat() == "2026-01-02T03:04:05+00:00"
