"""A worker as the fleet sees it, and the fleet as the worker sees it: retained statuses, both ways.

status(state) ──> the will, the heartbeats    receive(delivery) ──> a duplicate: another worker of the same id
                                                                └─> Peers: who has died, and who adopts it
"""

from __future__ import annotations

import logging
import time
import uuid
from datetime import datetime
from typing import Callable, List, Optional, Sequence, Set, Tuple

import wire
from wire.broker import Broker
from wire.errors import ConnectionRefused, DecodeError, DuplicateMember
from wire.lengths import MAX_CHOICE, MAX_FEW_LABELS, MAX_NAME, MAX_SENTENCE, MAX_SENTENCES, MAX_TOPIC
from wire.messages import AdoptionClaim, Beacon, Change, WorkerStatus, utc_now
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.pubacks import NOT_AUTHORIZED, REFUSED
from wire.printable import cut
from worker.membership.pacing import Pacing
from worker.membership.peers import Peers
from worker.temperature import hottest
from worker.worker import Worker

log = logging.getLogger(__name__)

#: Statuses that may fail to come before a worker counts as gone.
LEASE_STATUSES = 3
#: Other processes under this worker's id that are remembered.
_MOST_FORMER = 1000


class Presence:
    """Statuses. Calls come from the network thread, once there is one.

    Attributes:
        state: `online`, until the worker drains.
        answered: frames answered or rejected so far.
        topic: where the worker's status stands.
        others_topics: where the others' statuses, their claims and their beacons stand.
        peers: the other workers.
        worker_id: the worker's name.
    """

    def __init__(self, worker: Worker, pacing: Pacing, peers: Peers, in_hand: Callable[[], int]) -> None:
        """Prepare the worker's first status, which is `online`.

        Args:
            worker: whose presence it is.
            pacing: whether it takes frames.
            peers: the other workers.
            in_hand: counts the frames received and not yet acked.
        """
        topics = worker.settings.topics
        self.state = "online"
        #: Frames answered or rejected so far, and the seconds that they took together.
        self.answered, self._took = 0, 0.0
        self.topic = topics.worker(worker.id)
        self.others_topics = [topics.worker("+"), topics.adoption("+", "+"), topics.beacon("+")]
        self.peers = peers
        self.worker_id = worker.id
        self._worker = worker
        self._settings = worker.settings
        self._pacing = pacing
        self._in_hand = in_hand
        self._instance = uuid.uuid4().hex
        #: Whether this process has received its own status: what comes later was sent later.
        self._echoed = False
        #: The processes under this id that were there before.
        self._former: Set[str] = set()
        #: The process, and the time, of the last status of another that stood there at a reconnect.
        self._stood: Optional[Tuple[str, datetime]] = None
        #: When the last status was made, how many frames were answered by then, and what they had taken.
        self._last = (time.monotonic(), 0, 0.0)
        self._latency: Optional[float] = None

    def count(self, seconds: float) -> None:
        """A frame has been acked, so long after its receipt."""
        self.answered += 1
        self._took += seconds

    def publication(self, state: str = "", on_puback: Optional[Callable[[int], None]] = None) -> Publication:
        """A status, to be published."""
        return Publication(self.topic, self.status(state).encode(), retain=True, on_puback=on_puback)

    def first_publication(self, broker: Broker) -> Publication:
        """The first status. By its PUBACK the broker has read the SUBSCRIBE: frames find a subscriber."""

        def handle_puback(reason_code: int) -> None:
            if reason_code == NOT_AUTHORIZED:
                raise ConnectionRefused(
                    f"{broker} refuses {self.topic} (0x87): its ACL must let this user write there. "
                    "Is it a worker's, and this worker's?"
                )
            log.info("connected to %s, reading %s", broker, ", ".join(self._settings.subscriptions))

        return self.publication(on_puback=handle_puback)

    def status(self, state: str = "") -> WorkerStatus:
        """The worker as it stands; in another state than the present one for its will and its farewell."""
        rate = self._measure()
        model, engine = self._worker.switch.serving.model, self._worker.switch.serving.engine
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
            metrics=cut(self._worker.metrics_url, MAX_TOPIC),
            version=wire.__version__,
            started_at=self._worker.life.started_at,
            sent_at=utc_now(),
            frames_per_second=round(rate, 2),
            in_hand=self._in_hand(),
            takes_frames=takes_frames,
            wait_seconds=wait,
            accepts_control=not self._settings.ignore_control,
            change=self._change(),
            latency_seconds=self._latency,
            temperature_celsius=hottest(),
            labels=_few(model.classes),
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
        change, comparison = self._worker.commands.change, self._worker.switch.comparison
        if change is None or comparison is None:
            return change
        return change.model_copy(update={"compared": comparison.compared, "agreed": comparison.agreed})

    def receive(self, delivery: Delivery) -> None:
        """Take note of a status, a claim or a beacon.

        Args:
            delivery: one of those, or an empty payload where it was removed.

        Raises:
            DuplicateMember: another worker has started under this id, later.
        """
        try:
            self._receive(delivery)
        except DecodeError as error:
            log.warning("%s: %s", delivery.topic, error)

    def _receive(self, delivery: Delivery) -> None:
        topics, topic, payload = self._settings.topics, delivery.topic, delivery.payload
        if topic.startswith(topics.beacon("")):
            if payload:
                beacon = Beacon.decode(payload)
                if topic == topics.beacon(beacon.worker):
                    self.peers.receive_beacon(beacon.worker, beacon.instance)
            return
        about = topic[len(topics.worker("")) :].split("/")
        if len(about) == 1 and payload:
            status = WorkerStatus.decode(payload)
            if topic == self.topic:
                self._look_for_duplicate(status, delivery)
            elif topic == topics.worker(status.worker):
                self.peers.receive(status, retained=delivery.retain)
        elif len(about) == 3 and payload:
            claim = AdoptionClaim.decode(payload)
            if topic == topics.adoption(claim.dead, claim.worker):
                self.peers.receive_claim(claim)
        elif len(about) == 3:
            self.peers.drop_claim(about[0], about[2])

    def beacon(self) -> Publication:
        """A message that shows that this process is at this broker; to be published at each connection."""
        beacon = Beacon(worker=self.worker_id, instance=self._instance)
        topic = self._settings.topics.beacon(self.worker_id)

        def handle_puback(reason_code: int) -> None:
            if reason_code >= REFUSED:
                log.warning(
                    "the broker refuses %s (0x%02x): the others take this worker for one of another broker, "
                    "and never step aside for it. Its ACL must let workers write there, and read beacons/+",
                    topic,
                    reason_code,
                )

        return Publication(topic, beacon.encode(), retain=True, on_puback=handle_puback)

    def taken_back(self) -> List[Publication]:
        """Empty messages in the place of this worker's claims on workers that are back."""
        spent = [self._settings.topics.adoption(dead, self.worker_id) for dead in self.peers.spent_claims()]
        return [Publication(topic, b"", retain=True) for topic in spent]

    def _look_for_duplicate(self, status: WorkerStatus, delivery: Delivery) -> None:
        """Find a duplicate, another process of this worker's id, by its status: the later one stays.

        Two processes with one id take each other's session over, again and again. The DISCONNECT of the one
        that loses it, if there is any, does not say whether a duplicate has it now or an adopter; but when
        that process connects again it finds the duplicate's status. Which of them started later is seen by
        the broker's order, not by their clocks: a status that stood there, or was queued, before this process
        received its own first one is from before it. Its own has to be the copy at QoS 1, which comes behind
        all that was queued; one at QoS 0 does not wait for its turn.
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

        Such a broker knows what it had last written to its disk. A process that lives publishes newer ones.
        """
        if not delivery.retain:
            return False
        stood, self._stood = self._stood, (status.instance, status.sent_at)
        return stood is None or stood[0] != status.instance or stood == self._stood


def _few(labels: Sequence[str]) -> Tuple[str, ...]:
    """Labels that are few, as they stand in answers."""
    if len(labels) > MAX_FEW_LABELS or sum(map(len, labels)) > MAX_CHOICE:
        return ()
    return tuple(cut(label, MAX_NAME) for label in labels)
