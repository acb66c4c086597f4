"""Snapshots: the picture at which a camera's label changed, retained and small."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Callable, Dict, List

from paho.mqtt.client import MQTTMessage
from PIL import Image

from tests.harness import Listener, Mosquitto, WorkerProcess, wait_for
from tests.tiny import tiny_model
from tests.worker.serving.small import png
from wire.messages import Result

GREEN = png((0, 255, 0))


def about(message: MQTTMessage) -> Dict[str, str]:
    """The user properties of a message."""
    properties: Any = message.properties
    return dict(properties.UserProperty)


def snapshots(listener: Listener, root: str) -> List[MQTTMessage]:
    """The snapshots so far, without their notices."""
    return [each for each in listener.on(f"{root}/snapshots/") if not each.topic.endswith("/notice")]


def test_a_changed_label_leaves_a_picture(
    broker_url: str,
    root: str,
    photos: Path,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    start_worker(broker_url, *tiny_model(), "--snapshot-every", "0.5")
    listener = listen(broker_url, f"{root}/results/+", f"{root}/snapshots/+")
    coffee = (photos / "coffee.png").read_bytes()  # 467 kB, and more red than anything

    def seen() -> List[MQTTMessage]:
        return snapshots(listener, root)

    def label_of_another(image: bytes) -> str:
        answered = len(listener.on(f"{root}/results/"))
        listener.publish(f"{root}/frames/door", image)
        wait_for(lambda: len(listener.on(f"{root}/results/")) > answered, what="its answer")
        return Result.decode(listener.on(f"{root}/results/")[answered].payload).label

    assert label_of_another(coffee) == "red"
    (first,) = wait_for(seen, what="the first snapshot")
    assert len(first.payload) <= 65_536
    with Image.open(io.BytesIO(first.payload)) as image:
        image.load()
        assert (image.format, image.size) == ("JPEG", (600, 400))
    answer = Result.decode(listener.on(f"{root}/results/")[0].payload)
    assert about(first) == {
        **{"label": "red", "confidence": f"{answer.confidence:.4f}", "frame-id": answer.frame_id}
    }
    # However often it comes, until there is something else to be seen and the interval is over.
    assert {label_of_another(coffee) for _ in range(5)} == {"red"}
    wait_for(lambda: label_of_another(GREEN) == "green" and len(seen()) > 1, what="another snapshot")
    assert [about(each)["label"] for each in seen()] == ["red", "green"]
    assert seen()[1].payload == GREEN
    (retained,) = wait_for(listen(broker_url, f"{root}/snapshots/#").messages.copy, what="what is retained")
    assert (retained.retain, retained.payload, about(retained)) == (True, GREEN, about(seen()[1]))


def test_workers_that_share_a_camera_take_one_snapshot_together(
    mosquitto_url: str, root: str, start_worker: Callable[..., WorkerProcess], listen: Callable[..., Listener]
) -> None:
    for name in ("w1", "w2"):
        start_worker(mosquitto_url, *tiny_model(), "--snapshot-every", "0.01", worker_id=name)
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/snapshots/#")
    listener.publish(f"{root}/frames/door", GREEN)
    wait_for(lambda: listener.on(f"{root}/snapshots/door/notice"), what="the others are told")

    def answered_by_both() -> bool:
        listener.publish(f"{root}/frames/door", GREEN)
        return len({Result.decode(each.payload).worker for each in listener.on(f"{root}/results/")}) == 2

    wait_for(answered_by_both, what="frames for both")
    listener.publish(f"{root}/frames/garden", GREEN)
    wait_for(lambda: listener.on(f"{root}/snapshots/garden/notice"), what="a later one")
    assert [each.topic for each in snapshots(listener, root)] == [
        *(f"{root}/snapshots/door", f"{root}/snapshots/garden")
    ]


def test_a_broker_that_refuses_them_gets_its_answers(
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    root: str,
    start_worker: Callable[..., WorkerProcess],
    listen: Callable[..., Listener],
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {root}/#\ntopic deny {root}/snapshots/#\n")
    broker = mosquitto("allow_anonymous true", "user root", f"acl_file {acl}")
    worker = start_worker(broker.url, *tiny_model())
    listener = listen(broker.url, f"{root}/results/+")
    for camera in ("door", "garden"):
        listener.publish(f"{root}/frames/{camera}", GREEN)
    worker.wait_said(f"refuses {root}/snapshots/")
    listener.publish(f"{root}/frames/door", GREEN)
    wait_for(lambda: len(listener.messages) == 3, what="every answer")
    assert worker.stop() == 0
    assert worker.log.read_text().count("and perhaps other snapshots: check its ACL") == 1


def test_none_are_published_where_none_are_wanted(
    mosquitto_url: str, root: str, start_worker: Callable[..., WorkerProcess], listen: Callable[..., Listener]
) -> None:
    worker = start_worker(mosquitto_url, *tiny_model(), "--snapshot-every", "0")
    listener = listen(mosquitto_url, f"{root}/results/+", f"{root}/snapshots/#")
    listener.publish(f"{root}/frames/door", GREEN)
    wait_for(lambda: listener.messages, what="an answer")
    assert worker.stop() == 0
    assert [each.topic for each in listener.messages] == [f"{root}/results/door"]
