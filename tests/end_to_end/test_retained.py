"""Retained frames: old news, which some brokers send to each worker that subscribes."""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path
from typing import List, Tuple

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.proxy import Proxy
from tests.fleets import Fleet, on_both_brokers
from tests.harness import Listener, WorkerProcess, statuses, wait_for
from tests.metrics import metric
from tests.tiny import ROCKET
from wire.messages import Result
from wire.topics import client_id

QUICK = ("--status-interval", "0.5", "--adopt-after", "1")


@pytest.fixture
def image(photos: Path) -> bytes:
    return (photos / "rocket.jpg").read_bytes()


def ignored(worker: WorkerProcess) -> float:
    return metric(worker, "nanofleet_ignored_messages_total", reason="retained")


def told_of_retained(worker: WorkerProcess) -> int:
    """It says so once for each connection."""
    return worker.log.read_text().count("ignored a retained frame")


def answered(listener: Listener, root: str) -> int:
    return len(listener.on(f"{root}/results/"))


@on_both_brokers
def test_a_live_frame_is_answered_once_and_its_retained_copy_never(
    image: bytes,
    fleet: Fleet,
) -> None:
    worker = fleet.worker()
    listener = fleet.listen("results/+", "rejects/+")
    fleet.send("door", image, retain=True)
    wait_for(lambda: answered(listener, fleet.root) == 1, what="the live one answered")
    fleet.worker(id="w2")  # it has never subscribed before
    assert worker.stop() == 0
    worker.start()
    wait_for(lambda: worker.log.read_text().count("connected to") == 2, 60, "back")
    fleet.send("last", image)
    wait_for(lambda: answered(listener, fleet.root) == 2, what="the last one answered")
    results = [Result.decode(message.payload) for message in listener.messages]
    assert [(result.camera, result.label) for result in results] == [("door", ROCKET), ("last", ROCKET)]


def test_what_came_while_a_worker_was_dead_is_no_old_news(
    image: bytes,
    fleet: Fleet,
) -> None:
    """Its session has it as a live frame, and its SUBSCRIBE brings the retained copy as well."""
    worker = fleet.worker()
    listener = fleet.listen("results/+", "rejects/+")
    worker.process.send_signal(signal.SIGSTOP)
    fleet.send("door", image, retain=True)  # on its line when it dies
    worker.stop(signal.SIGKILL)
    fleet.send("garden", image, retain=True)
    worker.start()
    wait_for(lambda: answered(listener, fleet.root) == 2, what="both answered")
    wait_for(lambda: ignored(worker) == 2, what="both copies ignored")
    assert sorted(Result.decode(message.payload).camera for message in listener.messages) == [
        "door",
        "garden",
    ]


def test_mosquitto_sends_retained_frames_to_each_worker_that_subscribes(
    image: bytes,
    fleet: Fleet,
) -> None:
    """Without that the test above would show nothing."""
    listener = fleet.listen("results/+", "rejects/+")
    for camera in ("a", "b", "c"):
        fleet.send(camera, image, retain=True)
    worker = fleet.worker()
    wait_for(lambda: ignored(worker) == 3, what="three ignored")
    assert worker.log.read_text().count("ignored a retained frame") == 1, "one line for each connection"
    fleet.send("a", b"", retain=True)
    wait_for(lambda: listener.messages, what="what takes the retained one back is no picture")
    assert [message.topic for message in listener.messages] == [f"{fleet.root}/rejects/a"]
    assert worker.stop() == 0, "all of them acked"


def test_retained_frames_are_answered_if_that_is_wanted(
    image: bytes,
    fleet: Fleet,
) -> None:
    listener = fleet.listen("results/+")
    fleet.send("door", image, retain=True)
    worker = fleet.worker("--retained", "answer")
    wait_for(lambda: answered(listener, fleet.root) == 1, what="an answer")
    assert ignored(worker) == 0


def test_after_a_lost_connection(
    image: bytes,
    fleet: Fleet,
) -> None:
    listener = fleet.listen("results/+", "workers/+")
    with Proxy(int(fleet.url.rpartition(":")[2])) as line:
        worker = fleet.at(line.url).worker(*QUICK)
        fleet.send("door", image, retain=True)
        wait_for(lambda: answered(listener, fleet.root) == 1, what="the live one answered")
        heard = len(listener.messages)
        wait_for(
            lambda: any(s.in_hand == 0 for s in statuses(listener.messages[heard:])), what="its ack is out"
        )
        for outage in (1, 2):
            line.hang_up()
            # It is one more than before, and another one where the first one's ack was lost with the line.
            wait_for(lambda outage=outage: ignored(worker) >= outage, 60, "ignored")
            wait_for(lambda outage=outage: told_of_retained(worker) == outage, 60, "and said")
        fleet.send("garden", image)
        wait_for(lambda: answered(listener, fleet.root) == 2, what="a new one answered")
        assert worker.stop() == 0
    cameras = [Result.decode(message.payload).camera for message in listener.on(f"{fleet.root}/results/")]
    assert cameras == ["door", "garden"]
    assert told_of_retained(worker) == 2


def test_an_adopted_session_holds_old_news_and_new(
    image: bytes,
    fleet: Fleet,
) -> None:
    """The dead worker had a retained frame and a live one in hand when it died."""
    adopter = fleet.worker(*QUICK)
    listener = fleet.listen("results/+", "workers/+")
    own = wait_for(lambda: statuses(listener.messages), what="a status")[-1]
    adopter.process.send_signal(signal.SIGSTOP)
    fleet.send("door", image, retain=True)
    had = die_with_frames(fleet.url, own.group, fleet.root, f"{fleet.root}-dead", listener, image)
    adopter.process.send_signal(signal.SIGCONT)
    dead = own.model_copy(update={"worker": f"{fleet.root}-dead", "state": "lost"})
    listener.publish(f"{fleet.root}/workers/{fleet.root}-dead", dead.encode(), retain=True)
    adopter.wait_said(f"adopted {fleet.root}-dead")
    # The adopter's own session holds the first one, and every other one of those after it.
    wait_for(lambda: answered(listener, fleet.root) == 1 + 4, what="5 answers")
    assert had == [(True, "door"), (False, "live"), (False, "live")]
    assert ignored(adopter) >= 1  # and once more, since its SUBSCRIBE is repeated
    cameras = [Result.decode(message.payload).camera for message in listener.on(f"{fleet.root}/results/")]
    assert sorted(cameras) == ["door", *["live"] * 4]


def die_with_frames(
    url: str, group: str, root: str, worker_id: str, listener: Listener, image: bytes
) -> List[Tuple[bool, str]]:
    """Be a worker that gets one retained frame and two live ones, and dies before it acks any."""
    had: List[Tuple[bool, str]] = []
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client_id(worker_id),
        protocol=mqtt.MQTTv5,
        manual_ack=True,
    )
    client.on_message = lambda client, userdata, m: had.append((m.retain, m.topic.split("/")[-1]))
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 600
    host, _, port = url[len("mqtt://") :].partition(":")
    client.connect(host, int(port), clean_start=False, properties=properties)
    client.loop_start()
    wait_for(client.is_connected, what="connected")
    client.subscribe([(f"$share/{group}/{root}/frames/+", 1), (f"{root}/workers/{worker_id}", 1)])
    wait_for(lambda: had, what="the retained frame")
    for _ in range(4):
        listener.publish(f"{root}/frames/live", image + uuid.uuid4().bytes)
    wait_for(lambda: len(had) == 3, what="its half of the live frames")
    time.sleep(0.1)
    client.loop_stop()
    sock = client.socket()
    assert sock is not None
    sock.close()
    return had
