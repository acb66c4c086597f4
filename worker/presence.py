"""A worker as the fleet sees it, and the fleet as the worker sees it: retained statuses, both ways.

status(state) ──> the will, the heartbeats      hear(delivery) ──> a twin under the same id
                                                               └─> Peers: who has died, and is to be adopted
"""

from __future__ import annotations

import logging
import time
from typing import Callable, Optional, Tuple

import wire
from wire.errors import DecodeError, DuplicateMember
from wire.lengths import MAX_NAME, MAX_SENTENCE, MAX_SENTENCES, MAX_TOPIC
from wire.messages import Change, WorkerStatus, utc_now
from wire.packets import Delivery, Publication
from wire.printable import cut
from worker.control import Control
from worker.lineup import Lineup
from worker.peers import Peers
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Statuses that may fail to come before a worker counts as gone.
LEASE_STATUSES = 3


class Presence:
    """Statuses. Calls come from the network thread, once there is one."""

    def __init__(
        self,
        settings: WorkerSettings,
        worker_id: str,
        lineup: Lineup,
        control: Control,
        in_hand: Callable[[], int],
        pace: Callable[[], Tuple[bool, float]],
    ) -> None:
        """Args:
        settings: the worker's.
        worker_id: its name.
        lineup: its models.
        control: how it stands with the commands to change them.
        in_hand: counts the frames received and not yet acked.
        pace: whether the worker takes frames, and how many seconds a new one would wait.
        """
        #: `online`, until the worker drains.
        self.state = "online"
        #: Frames answered or rejected so far.
        self.answered = 0
        self.topic = settings.topics.worker(worker_id)
        self.everybodys = settings.topics.worker("+")
        #: Topic templates the worker reads frames from.
        self._inputs = tuple(template.text for template in settings.templates)
        self.peers = Peers(worker_id, settings.group, self._inputs, settings.adopt_after)
        self._settings = settings
        self._worker_id = worker_id
        self._lineup = lineup
        self._control = control
        self._in_hand = in_hand
        self._pace = pace
        #: Where the metrics are served; empty for nowhere.
        self.metrics_url = ""
        self._started_at = utc_now()
        self._last = (time.monotonic(), 0)

    def publication(self, state: str = "", on_puback: Optional[Callable[[int], None]] = None) -> Publication:
        """A status, to be published."""
        return Publication(self.topic, self.status(state).encode(), retain=True, on_puback=on_puback)

    def status(self, state: str = "") -> WorkerStatus:
        """The worker as it stands; in another state than the present one for its will and its farewell."""
        now, answered = time.monotonic(), self.answered
        then, before = self._last
        # Two statuses at almost the same time say nothing about the rate.
        rate = (answered - before) / (now - then) if now - then > 1 else 0.0
        self._last = (now, answered)
        model, engine = self._lineup.serving.model, self._lineup.serving.engine
        takes_frames, wait = self._pace()
        return WorkerStatus(
            worker=self._worker_id,
            state=state or self.state,
            group=self._settings.group,
            inputs=self._inputs,
            lease_seconds=LEASE_STATUSES * self._settings.status_interval,
            model=model.name,
            weights=model.weights,
            engine=cut(engine.name, MAX_NAME),
            engine_why=cut(engine.why, MAX_SENTENCE),
            device=cut(engine.device, MAX_NAME),
            assumed=tuple(cut(sentence, MAX_SENTENCE) for sentence in model.assumed[:MAX_SENTENCES]),
            metrics=cut(self.metrics_url, MAX_TOPIC),
            version=wire.__version__,
            started_at=self._started_at,
            sent_at=utc_now(),
            frames_per_second=round(rate, 2),
            in_hand=self._in_hand(),
            takes_frames=takes_frames,
            wait_seconds=wait,
            accepts_control=not self._settings.ignore_control,
            change=self._change(),
        )

    def _change(self) -> Optional[Change]:
        change, comparison = self._control.change, self._lineup.comparison
        if change is None or comparison is None:
            return change
        return change.model_copy(update={"compared": comparison.compared, "agreed": comparison.agreed})

    def hear(self, delivery: Delivery) -> None:
        """Take note of a status.

        Args:
            delivery: it, or an empty payload where somebody has tidied up.

        Raises:
            DuplicateMember: another worker has started under this id, later.
        """
        if not delivery.payload:
            return
        try:
            status = WorkerStatus.decode(delivery.payload)
        except DecodeError as error:
            log.warning("%s: %s", delivery.topic, error)
            return
        if delivery.topic == self.topic:
            # What stands there at the first connection is only what an earlier life of its own has left.
            if delivery.epoch > 1 or not delivery.retain:
                self._look_for_twin(status)
        elif delivery.topic == self._settings.topics.worker(status.worker):
            self.peers.hear(status)

    def _look_for_twin(self, status: WorkerStatus) -> None:
        """A status under this worker's id by another process: the one that started later stays.

        Two processes with one id take each other's session over, again and again. Mosquitto 2.0 does not
        tell the one that loses it, but when it comes back it finds the other's status.
        """
        if status.started_at == self._started_at or status.state != "online":
            return
        if status.started_at > self._started_at:
            raise DuplicateMember(
                f"another worker started as {self._worker_id!r} at {status.started_at:%H:%M:%S}; this one, "
                f"started at {self._started_at:%H:%M:%S}, leaves. Give each its own --worker-id"
            )
        log.warning("another worker called %r was running; the older one leaves", self._worker_id)
