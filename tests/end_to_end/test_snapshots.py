"""Snapshots: the picture at which a camera's label changed, retained and small."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Callable, Dict, List

from paho.mqtt.client import MQTTMessage
from PIL import Image

from tests.fleets import Fleet, on_both_brokers
from tests.harness import Listener, Mosquitto, wait_for
from tests.tiny import COFFEE
from tests.worker.serving.small import png
from wire.messages import Result

GREEN = png((0, 255, 0))


def about(message: MQTTMessage) -> Dict[str, str]:
    """The user properties of a message."""
    properties: Any = message.properties
    return dict(properties.UserProperty)


def format_of(picture: bytes) -> str:
    """What a picture is a file of."""
    with Image.open(io.BytesIO(picture)) as image:
        return str(image.format)


def answers(listener: Listener) -> List[Result]:
    """The answers so far."""
    return [Result.decode(each.payload) for each in list(listener.messages) if "/results/" in each.topic]


def snapshots(listener: Listener) -> List[MQTTMessage]:
    """The snapshots so far."""
    return [each for each in list(listener.messages) if each.topic.split("/")[-2] == "snapshots"]


@on_both_brokers
def test_a_changed_label_leaves_a_picture(fleet: Fleet, photos: Path) -> None:
    fleet.worker("--snapshot-every", "0.5")
    listener = fleet.listen("results/+", "snapshots/+")
    coffee = (photos / "coffee.png").read_bytes()
    assert len(coffee) > 400_000

    def label_of_another(image: bytes) -> str:
        answered = len(answers(listener))
        fleet.send("door", image)
        wait_for(lambda: len(answers(listener)) > answered, what="its answer")
        return answers(listener)[answered].label

    assert label_of_another(coffee) == COFFEE
    (first,) = wait_for(lambda: snapshots(listener), what="the first snapshot")
    assert len(first.payload) <= 65_536
    with Image.open(io.BytesIO(first.payload)) as image:
        image.load()
        assert (image.format, image.size) == ("JPEG", (600, 400))
    (answer,) = answers(listener)
    assert about(first) == {
        **{"label": COFFEE, "confidence": f"{answer.confidence:.4f}", "frame-id": answer.frame_id}
    }
    # However often it comes, until there is something else to be seen and the interval is over.
    assert {label_of_another(coffee) for _ in range(5)} == {COFFEE}

    def another() -> bool:
        return label_of_another(GREEN) == "green" and len(snapshots(listener)) > 1

    wait_for(another, what="another snapshot")
    assert [about(each)["label"] for each in snapshots(listener)] == [COFFEE, "green"]
    second = snapshots(listener)[1]
    assert format_of(second.payload) == "JPEG"  # a small PNG, too: Home Assistant is told of one kind
    late = fleet.listen("snapshots/#")
    (retained,) = wait_for(late.messages.copy, what="what is retained")
    assert (retained.retain, retained.payload, about(retained)) == (*(True, second.payload, about(second)),)


def test_workers_that_share_a_camera_take_one_snapshot_together(fleet: Fleet) -> None:
    for name in ("w1", "w2"):
        fleet.worker("--snapshot-every", "0.01", id=name)
    listener = fleet.listen("results/+", "snapshots/#")
    fleet.send("door", GREEN)
    wait_for(lambda: listener.on(f"{fleet.root}/snapshots/door/notice"), what="the others are told")

    def answered_by_both() -> bool:
        fleet.send("door", GREEN)
        return len({answer.worker for answer in answers(listener)}) == 2

    wait_for(answered_by_both, what="frames for both")
    fleet.send("garden", GREEN)
    wait_for(lambda: listener.on(f"{fleet.root}/snapshots/garden/notice"), what="a later one")
    assert [each.topic.rsplit("/", 1)[1] for each in snapshots(listener)] == ["door", "garden"]


def test_a_broker_that_refuses_them_gets_its_answers(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, fleet: Fleet
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {fleet.root}/#\ntopic deny {fleet.root}/snapshots/#\n")
    guarded = fleet.at(mosquitto("allow_anonymous true", "user root", f"acl_file {acl}").url)
    worker = guarded.worker()
    listener = guarded.listen("results/+")
    for camera in ("door", "garden"):
        guarded.send(camera, GREEN)
    worker.wait_said(f"refuses {fleet.root}/snapshots/")
    guarded.send("door", GREEN)
    wait_for(lambda: len(answers(listener)) == 3, what="every answer")
    assert worker.stop() == 0
    assert worker.log.read_text().count("and perhaps other snapshots: check its ACL") == 1


def test_none_are_published_where_none_are_wanted(fleet: Fleet) -> None:
    worker = fleet.worker("--snapshot-every", "0")
    listener = fleet.listen("results/+", "snapshots/#")
    fleet.send("door", GREEN)
    wait_for(lambda: listener.messages, what="an answer")
    assert worker.stop() == 0
    assert [each.topic for each in listener.messages] == [f"{fleet.root}/results/door"]
