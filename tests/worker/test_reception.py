"""Where a delivery goes: to the pipeline, the presence or the model commands, or only into a count."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.harness import wait_for
from tests.worker.fleet import status
from tests.worker.path import RED, FramesPath
from wire.cameras import CameraSettings
from wire.messages import ModelCommand
from wire.model_choice import ModelChoice
from wire.mqtt.packets import Delivery
from worker.membership.actions import Actions
from worker.reception import ALL_RECEIVED_SECONDS, Reception

FRAMES = "nanofleet/frames/door"


class Received:
    """A reception, and what a session delivers to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = path = FramesPath(folder, **settings)
        self.reception = Reception(
            *(path.worker, path.pipeline, path.presence, path.pacing, Actions(path.worker))
        )

    def deliver(
        self, topic: str = FRAMES, payload: bytes = RED, *, qos: int = 1, retain: bool = False, mid: int = 1
    ) -> None:
        delivery = Delivery(topic, payload, qos, retain, mid, 1)
        self.reception.receive(delivery, self.path.unacked)

    def ignored(self, reason: str) -> float:
        value = self.path.metrics.registry.get_sample_value(
            "nanofleet_ignored_messages_total", {"reason": reason}
        )
        assert value is not None
        return value


@pytest.fixture
def received(tmp_path: Path) -> Iterator[Received]:
    made = Received(tmp_path)
    with made.path.pipeline:
        yield made


def test_a_frame_goes_to_the_pipeline(received: Received) -> None:
    received.deliver()
    assert len(received.path.models.jobs) == 1
    assert received.path.acked == [], "not before its answer is with the broker"


def test_a_retained_frame_is_acked_and_ignored(received: Received, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for mid in (1, 2):
        received.deliver(retain=True, mid=mid, payload=b"%d" % mid)
    assert received.path.models.jobs == []
    assert received.path.acked == [1, 2]
    assert received.ignored("retained") == 2
    assert len(caplog.messages) == 1, "once for each connection"


def test_a_retained_frame_is_answered_where_that_is_asked_for(tmp_path: Path) -> None:
    received = Received(tmp_path, retained="answer")
    with received.path.pipeline:
        received.deliver(retain=True)
        assert len(received.path.models.jobs) == 1
        assert received.ignored("retained") == 0


def test_a_frame_of_no_valid_camera_is_acked_and_ignored(received: Received) -> None:
    received.deliver("nanofleet/frames/a door")
    assert received.path.models.jobs == []
    assert received.path.acked == [1]
    assert received.ignored("no_camera") == 1


def test_a_flood_at_qos_0_is_cut_off(tmp_path: Path) -> None:
    received = Received(tmp_path, window=2, max_batch=1, decoders=1)
    with received.path.pipeline:
        for number in range(100):
            received.deliver(payload=RED + b"%d" % number, qos=0)
        ignored = received.ignored("qos0_flood")
        assert 0 < ignored < 100
        assert received.path.unacked.unanswered == 100 - ignored
        received.deliver(qos=1)
        assert received.path.unacked.unanswered == 101 - ignored, "at QoS 1 none is cut off"


def test_a_status_goes_to_the_presence(received: Received) -> None:
    topics = received.path.settings.topics
    received.deliver(topics.worker("other"), status("other").encode(), qos=0)
    assert len(received.path.presence.peers) == 1
    assert received.path.acked == []
    received.deliver(topics.worker("third"), status("third").encode(), qos=1)
    assert len(received.path.presence.peers) == 2
    assert received.path.acked == [1]


@pytest.mark.parametrize("session_present", [False, True])
def test_a_command_that_was_taken_back_is_noticed_by_a_new_session_alone(
    received: Received, monkeypatch: pytest.MonkeyPatch, session_present: bool
) -> None:
    """It was read before there was a session; one that was kept delivers that it was taken back."""
    commands, topics = received.path.commands, received.path.settings.topics
    command = ModelCommand(choice=ModelChoice(model="alexnet"))
    choices = commands.first_choices({topics.model_command(): command.encode()})
    assert choices[0].model == "alexnet"
    received.reception.connected(session_present)
    received.reception.check_commands()
    assert commands._in_force() is not None, "its own status has not come yet"
    received.deliver(received.path.presence.topic, status("w1").encode())
    received.reception.check_commands()
    assert commands._in_force() is not None, f"{ALL_RECEIVED_SECONDS} s have not passed"
    monkeypatch.setattr("worker.reception.ALL_RECEIVED_SECONDS", 0.0)

    def is_taken_back() -> bool:
        received.reception.check_commands()
        return commands._in_force() is None

    if session_present:
        assert not is_taken_back()
    else:
        wait_for(is_taken_back, what="a command that is not retained any more")


@pytest.mark.parametrize("session_present", [False, True])
def test_settings_that_the_broker_has_lost_are_forgotten_by_a_new_session_alone(
    received: Received, monkeypatch: pytest.MonkeyPatch, session_present: bool
) -> None:
    """Each time that one begins, and not before it has received what is still there."""
    monkeypatch.setattr("worker.reception.ALL_RECEIVED_SECONDS", 0.0)
    cameras, topics = received.path.cameras, received.path.settings.topics

    def deliver(camera: str) -> None:
        settings = CameraSettings(max_age=3.0).encode()
        received.deliver(topics.camera_settings(camera), settings, qos=0, retain=True)

    def echo() -> None:
        received.deliver(received.path.presence.topic, status("w1").encode(), qos=0)

    def is_forgotten() -> bool:
        received.reception.check_commands()
        return cameras.of("door").max_age is None

    received.reception.connected(False)
    deliver("door")
    deliver("garden")
    echo()
    assert not is_forgotten()
    received.reception.connected(session_present)
    assert not is_forgotten(), "its own status has not come again yet"
    deliver("garden")
    echo()
    if session_present:
        assert not is_forgotten()
    else:
        wait_for(is_forgotten, what="settings that are not retained any more")
    assert cameras.of("garden").max_age == 3.0
