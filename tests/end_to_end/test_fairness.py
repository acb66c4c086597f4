"""A camera that floods, and the others beside it."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Dict, List

from tests.fleets import Fleet
from tests.harness import Mosquitto, user_properties, wait_for
from wire.messages import Rejection, Result, utc_now


def captured(seconds_ago: float) -> Dict[str, Any]:
    now = utc_now()
    captured_at = (now - timedelta(seconds=seconds_ago)).isoformat()
    return user_properties(("captured-at", captured_at), ("sent-at", now.isoformat()))


def test_a_flood_in_hand_does_not_hold_up_the_others(
    mosquitto: Callable[..., Mosquitto],
    photos: Path,
    fleet: Fleet,
) -> None:
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 100")
    fleet = fleet.at(broker.url)
    worker = fleet.worker("--max-batch", "1", "--decoders", "1", "--window", "64")
    listener = fleet.listen("results/+")
    image = (photos / "rocket.jpg").read_bytes()
    worker.process.send_signal(signal.SIGSTOP)
    for camera in ["flood"] * 60 + ["door", "hall"]:
        fleet.send(camera, image)
    worker.process.send_signal(signal.SIGCONT)
    wait_for(lambda: len(listener.messages) == 62, 60, "62 answers")
    order: List[str] = [Result.decode(message.payload).camera for message in listener.messages]
    # In order of arrival they would be the 61st and the 62nd. Some of the flood is done before they are read.
    assert order.index("door") < 40
    assert order.index("hall") < 40
    assert worker.stop() == 0


def test_each_camera_has_its_own_limit_of_age(
    photos: Path,
    fleet: Fleet,
) -> None:
    fleet.worker("--max-age", "3600", "--max-age", "door=60")
    listener = fleet.listen("results/+", "rejects/+")
    image = (photos / "rocket.jpg").read_bytes()
    for camera, age in (("door", 100), ("hall", 100), ("hall", 4000), ("door", 1)):
        fleet.send(camera, image, **captured(age))
    wait_for(lambda: len(listener.messages) == 4, what="four answers")
    answered = sorted(Result.decode(m.payload).camera for m in listener.on(f"{fleet.root}/results/"))
    rejected = [Rejection.decode(m.payload) for m in listener.on(f"{fleet.root}/rejects/")]
    assert answered == ["door", "hall"]
    assert {(r.camera, r.reason.value) for r in rejected} == {("door", "expired"), ("hall", "expired")}
