"""A worker as the fleet sees it, and the fleet as the worker sees it: retained statuses, both ways.

status(state) ──> the will, the heartbeats    hear(delivery) ──> a duplicate: another worker of the same id
                                                             └─> Peers: who has died, and who adopts it
"""

from __future__ import annotations

import logging
import time
import uuid
from datetime import datetime
from typing import Callable, List, Optional, Set, Tuple

import wire
from wire.errors import DecodeError, DuplicateMember
from wire.lengths import MAX_NAME, MAX_SENTENCE, MAX_SENTENCES, MAX_TOPIC
from wire.messages import AdoptionClaim, Beacon, Change, WorkerStatus, utc_now
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.pubacks import REFUSED
from wire.printable import cut
from worker.membership.pacing import Pacing
from worker.membership.peers import Peers
from worker.serving.commands import Commands
from worker.serving.switch import Switch
from worker.settings import WorkerSettings
from worker.temperature import hottest

log = logging.getLogger(__name__)

#: Statuses that may fail to come before a worker counts as gone.
LEASE_STATUSES = 3
#: Other processes under this worker's id that are remembered.
_MOST_FORMER = 1000


class Presence:
    """Statuses. Calls come from the network thread, once there is one."""

    def __init__(
        self,
        settings: WorkerSettings,
        worker_id: str,
        switch: Switch,
        commands: Commands,
        pacing: Pacing,
        peers: Peers,
        in_hand: Callable[[], int],
        metrics_url: str,
        started_at: datetime,
    ) -> None:
        """Args:
        settings: the worker's.
        worker_id: its name.
        switch: its models.
        commands: how it stands with the commands to change them.
        pacing: whether it takes frames.
        peers: the other workers.
        in_hand: counts the frames received and not yet acked.
        metrics_url: where the metrics are served; empty for nowhere.
        started_at: when this process began.
        """
        #: `online`, until the worker drains.
        self.state = "online"
        #: Frames answered or rejected so far, and the seconds that they took together.
        self.answered, self._took = 0, 0.0
        self.topic = settings.topics.worker(worker_id)
        #: What the others say: their statuses, whom they adopt, and that they are at this broker.
        topics = settings.topics
        self.everybodys = [topics.worker("+"), topics.adoption("+", "+"), topics.beacon("+")]
        self.peers = peers
        self._settings = settings
        self.worker_id = worker_id
        self._switch = switch
        self._commands = commands
        self._in_hand = in_hand
        self._pacing = pacing
        self._metrics_url = metrics_url
        self._started_at = started_at
        self._instance = uuid.uuid4().hex
        #: Whether this process has heard its own status: what comes later was sent later.
        self._echoed = False
        #: The processes under this id that were there before.
        self._former: Set[str] = set()
        #: The process, and the time, of the last status of another that stood there at a reconnect.
        self._stood: Optional[Tuple[str, datetime]] = None
        self._last = (time.monotonic(), 0, 0.0)
        self._latency: Optional[float] = None

    def count(self, seconds: float) -> None:
        """A frame has been acked, so long after its receipt."""
        self.answered += 1
        self._took += seconds

    def publication(self, state: str = "", on_puback: Optional[Callable[[int], None]] = None) -> Publication:
        """A status, to be published."""
        return Publication(self.topic, self.status(state).encode(), retain=True, on_puback=on_puback)

    def status(self, state: str = "") -> WorkerStatus:
        """The worker as it stands; in another state than the present one for its will and its farewell."""
        rate = self._measure()
        model, engine = self._switch.serving.model, self._switch.serving.engine
        takes_frames, wait = self._pacing.report()
        return WorkerStatus(
            worker=self.worker_id,
            state=state or self.state,
            instance=self._instance,
            group=self._settings.group,
            inputs=self._settings.inputs,
            lease_seconds=LEASE_STATUSES * self._settings.status_interval,
            model=model.name,
            weights=model.weights,
            engine=cut(engine.name, MAX_NAME),
            engine_why=cut(engine.why, MAX_SENTENCE),
            device=cut(engine.device, MAX_NAME),
            assumed=tuple(cut(sentence, MAX_SENTENCE) for sentence in model.assumed[:MAX_SENTENCES]),
            metrics=cut(self._metrics_url, MAX_TOPIC),
            version=wire.__version__,
            started_at=self._started_at,
            sent_at=utc_now(),
            frames_per_second=round(rate, 2),
            in_hand=self._in_hand(),
            takes_frames=takes_frames,
            wait_seconds=wait,
            accepts_control=not self._settings.ignore_control,
            change=self._change(),
            latency_seconds=self._latency,
            temperature_celsius=hottest(),
        )

    def _measure(self) -> float:
        """Frames a second since the last status; notes what they took, until others come."""
        now, answered, took = time.monotonic(), self.answered, self._took
        then, before, took_before = self._last
        self._last = (now, answered, took)
        if answered > before:
            self._latency = round((took - took_before) / (answered - before), 4)
        # Two statuses at almost the same time say nothing about the rate.
        return (answered - before) / (now - then) if now - then > 1 else 0.0

    def _change(self) -> Optional[Change]:
        change, comparison = self._commands.change, self._switch.comparison
        if change is None or comparison is None:
            return change
        return change.model_copy(update={"compared": comparison.compared, "agreed": comparison.agreed})

    def hear(self, delivery: Delivery) -> None:
        """Take note of a status, a claim or a beacon.

        Args:
            delivery: it, or an empty payload where somebody has tidied up.

        Raises:
            DuplicateMember: another worker has started under this id, later.
        """
        try:
            self._hear(delivery)
        except DecodeError as error:
            log.warning("%s: %s", delivery.topic, error)

    def _hear(self, delivery: Delivery) -> None:
        topics, topic, payload = self._settings.topics, delivery.topic, delivery.payload
        if topic.startswith(topics.beacon("")):
            if payload:
                beacon = Beacon.decode(payload)
                if topic == topics.beacon(beacon.worker):
                    self.peers.hear_beacon(beacon.worker, beacon.instance)
            return
        about = topic[len(topics.worker("")) :].split("/")
        if len(about) == 1 and payload:
            status = WorkerStatus.decode(payload)
            if topic == self.topic:
                self._look_for_duplicate(status, delivery)
            elif topic == topics.worker(status.worker):
                self.peers.hear(status, retained=delivery.retain)
        elif len(about) == 3 and payload:
            claim = AdoptionClaim.decode(payload)
            if topic == topics.adoption(claim.dead, claim.worker):
                self.peers.hear_claim(claim)
        elif len(about) == 3:
            self.peers.drop_claim(about[0], about[2])

    def beacon(self) -> Publication:
        """What says that this process is at this broker; to be published at each connection."""
        beacon = Beacon(worker=self.worker_id, instance=self._instance)
        topic = self._settings.topics.beacon(self.worker_id)

        def hear(reason_code: int) -> None:
            if reason_code >= REFUSED:
                log.warning(
                    "the broker refuses %s (0x%02x): the others take this worker for one of another broker, "
                    "and never step aside for it. Its ACL must let workers write there, and read beacons/+",
                    topic,
                    reason_code,
                )

        return Publication(topic, beacon.encode(), retain=True, on_puback=hear)

    def taken_back(self) -> List[Publication]:
        """Empty messages in the place of this worker's claims on those that are back."""
        spent = [self._settings.topics.adoption(dead, self.worker_id) for dead in self.peers.spent_claims()]
        return [Publication(topic, b"", retain=True) for topic in spent]

    def _look_for_duplicate(self, status: WorkerStatus, delivery: Delivery) -> None:
        """A status under this worker's id by another process: the one that started later stays.

        Two processes with one id take each other's session over, again and again. What a broker tells the
        one that loses it, if anything, does not say whether a duplicate has it now or an adopter; but when it
        comes back it finds the duplicate's status. Which of them started later the broker tells, not their
        clocks: what stood there, or was queued, before this process heard its own first status is from before
        it.
        That has to be the copy at QoS 1, which comes behind all that was queued; one at QoS 0 does not wait
        for its turn.
        """
        before = not self._echoed or (delivery.retain and delivery.epoch == 1)
        if status.instance == self._instance:
            self._echoed = self._echoed or delivery.qos > 0
        elif status.instance in self._former:
            if status.state == "online":
                log.warning("another worker called %r is still running; the older one leaves", self.worker_id)
        elif before:
            if len(self._former) < _MOST_FORMER:
                self._former.add(status.instance)
        elif status.state == "online" and not self._may_be_old(status, delivery):
            raise DuplicateMember(
                f"another worker started as {self.worker_id!r}, later than this one, which leaves. "
                "Give each its own --worker-id"
            )

    def _may_be_old(self, status: WorkerStatus, delivery: Delivery) -> bool:
        """Whether a status may be from before: one that a broker, killed and started again, has retained.

        What it knows then is what it had last written to its disk. One that lives says something new.
        """
        if not delivery.retain:
            return False
        stood, self._stood = self._stood, (status.instance, status.sent_at)
        return stood is None or stood[0] != status.instance or stood == self._stood
