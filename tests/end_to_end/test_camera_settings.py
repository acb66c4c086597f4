"""The cameras' settings outlive a worker."""

from __future__ import annotations

import io
import signal
from typing import Dict

from PIL import Image

from tests.fleets import Fleet, on_both_brokers
from tests.harness import Listener, wait_for
from wire.cameras import CameraSettings
from wire.messages import Result

RIGHT_HALF = (0.5, 0.0, 1.0, 1.0)


def red_and_green() -> bytes:
    """A picture that is red as a whole, and green in its right half."""
    picture = Image.new("RGB", (64, 64), (255, 0, 0))
    picture.paste((0, 200, 0), (32, 0, 64, 64))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def labels(listener: Listener) -> Dict[str, str]:
    """The labels so far, by the frame's id."""
    answers = [Result.decode(message.payload) for message in list(listener.messages)]
    return {answer.frame_id: answer.label for answer in answers}


def test_a_frame_that_waited_for_a_dead_worker_has_the_region_that_was_set(fleet: Fleet) -> None:
    """It comes before any settings."""
    worker = fleet.worker()
    listener = fleet.listen("results/+")
    fleet.send("door", red_and_green(), "before")
    wait_for(lambda: labels(listener) == {"before": "red"}, what="the whole picture")
    topic = f"{fleet.root}/settings/cameras/door"
    listener.publish(topic, CameraSettings(region=RIGHT_HALF).encode(), retain=True)

    def in_force() -> bool:
        fleet.send("door", red_and_green())
        return "green" in labels(listener).values()

    wait_for(in_force, what="the region")
    worker.stop(signal.SIGKILL)
    fleet.send("door", red_and_green(), "waited")
    worker.start()
    wait_for(lambda: "waited" in labels(listener), 60, "the frame that waited")
    assert labels(listener)["waited"] == "green"
    listener.publish(topic, b"", retain=True)


@on_both_brokers
def test_a_worker_that_was_killed_returns_with_the_settings(fleet: Fleet) -> None:
    """A session that rumqttd has kept is sent nothing retained again: what was noted on disk has to serve.

    One worker stays: rumqttd panics where the last member of a shared subscription dies with frames in hand.
    """
    listener = fleet.listen("results/+")
    topic = f"{fleet.root}/settings/cameras/door"
    listener.publish(topic, CameraSettings(region=RIGHT_HALF).encode(), retain=True)
    fleet.worker(id="w1")
    victim = fleet.worker(id="w2")

    def both_have_answered(with_label: str) -> bool:
        fleet.send("door", red_and_green())
        last = [Result.decode(message.payload) for message in list(listener.messages)[-8:]]
        return {answer.worker for answer in last} == {*(f"{fleet.root}-w1", victim.id)} and {
            answer.label for answer in last
        } == {with_label}

    wait_for(lambda: both_have_answered("green"), what="both go by the region")
    for _ in range(3):
        victim.stop(signal.SIGKILL)
        listener.messages.clear()
        victim.start()
        wait_for(lambda: both_have_answered("green"), 60, "both go by it again")
    assert {Result.decode(message.payload).label for message in listener.messages} == {"green"}
    listener.publish(topic, CameraSettings().encode(), retain=True)
    wait_for(lambda: both_have_answered("red"), what="both go by new settings")
    listener.publish(topic, b"", retain=True)
