"""One frame's path without a broker and without models: the test is both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List, cast

from tests.worker.serving.small import png
from wire.messages import Rejection, Result
from wire.mqtt.packets import Delivery, Publication
from worker.camera_notes import CameraNotes
from worker.cameras import Cameras
from worker.delivery.unacked import Unacked
from worker.life import Life
from worker.membership.pacing import Pacing
from worker.membership.peers import Peers
from worker.membership.presence import Presence
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.serving.commands import Commands
from worker.serving.job import Job
from worker.settings import WorkerSettings
from worker.worker import Worker

NOT_ASKED = cast(Any, None)
RED = png((255, 0, 0))


class Broker:
    """What a pipeline sees of a connection; the test is its broker and its network thread."""

    broker = "none"

    def __init__(self) -> None:
        self.published: List[Publication] = []
        self.calls: List[Callable[[], None]] = []

    def publish(self, publication: Publication) -> None:
        self.published.append(publication)

    def call(self, function: Callable[[], None]) -> None:
        self.calls.append(function)

    def run(self) -> int:
        """Run what was posted; returns how much that was."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return len(calls)


class Models:
    """What a pipeline sees of the models: pictures that wait for what the test says of them."""

    def __init__(self) -> None:
        self.jobs: List[Job] = []
        self.images: List[bytes] = []

    def submit(self, job: Job, image: bytes) -> None:
        self.jobs.append(job)
        self.images.append(image)


class FramesPath:
    """A pipeline, and the frames in hand."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = WorkerSettings(state_dir=folder, **{"max_batch": 4, "snapshot_every": 0, **settings})
        self.broker, self.models, self.metrics = Broker(), Models(), Metrics()
        self.commands = Commands(
            [self.settings.topics.model_command()],
            self.settings.choice,
            folder,
            folder / "w1.model",
            change_to=NOT_ASKED,
        )
        models: Any = self.models
        self.cameras = Cameras(self.settings, {}, CameraNotes(folder / "w1.cameras"))
        self.worker = Worker(
            "w1", self.settings, models, self.cameras, self.commands, self.metrics, "", Life()
        )
        peers = Peers("w1", self.settings.group, self.settings.inputs, self.settings.adopt_after)
        self.pacing = pacing = Pacing(peers, 0.0, publish_status=NOT_ASKED, take_frames=NOT_ASKED)
        self.presence = Presence(self.worker, pacing, peers, NOT_ASKED)
        broker: Any = self.broker
        self.pipeline = Pipeline(self.worker, broker, self.presence, pacing)
        self.acked: List[int] = []
        self.unacked = Unacked(
            lambda delivery: self.acked.append(delivery.mid), self.settings.receive_maximum
        )

    def receive(self, mid: int, payload: bytes = RED, epoch: int = 1, **properties: str) -> None:
        names = {name.replace("_", "-"): value for name, value in properties.items()}
        topic = "nanofleet/frames/door"
        delivery = Delivery(topic, payload, 1, False, mid, epoch, user_properties=names)
        self.pipeline.receive(delivery, "door", self.unacked)

    def answers(self) -> List[Any]:
        """The answers that were published, read again."""
        kinds = {"nanofleet/results/door": Result, "nanofleet/rejects/door": Rejection}
        return [kinds[each.topic].decode(each.payload) for each in self.broker.published]

    def puback(self, number: int, reason_code: int = 0) -> None:
        """Let the broker take one of the answers."""
        on_puback = self.broker.published[number].on_puback
        assert on_puback is not None
        on_puback(reason_code)
