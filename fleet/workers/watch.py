"""The fleet as an operator's command sees it: statuses, commands in force, live answers."""

from __future__ import annotations

import collections
import contextlib
import functools
import time
import uuid
from datetime import datetime
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from wire.broker import Broker
from wire.cameras import CameraSettings
from wire.errors import ConnectionRefused, DecodeError, NanofleetError
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import AdoptionClaim, Rejection, Result, WorkerStatus, utc_now
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.reach import because, connect_within, wait_for, wait_until_quiet
from wire.topics import Topics

#: Seconds without a retained message after which all have come.
QUIET = 0.5
#: Live answers that are kept until `take_answers`; older ones are dropped.
MAX_OUTCOMES = 100_000


class Arrival(NamedTuple):
    """When and how a message arrived."""

    #: By this machine's monotonic clock.
    at: float
    retained: bool
    #: Seconds by which the time in it was behind this machine's clock: the age of a retained message, if the
    #: clocks agree.
    clock: float


class Outcome(NamedTuple):
    """A worker and the milliseconds that an answer took it; None for a rejection."""

    worker: str
    total_ms: Optional[float]
    #: Whether no model has seen the frame.
    repeats: bool = False


def _result(payload: bytes) -> Outcome:
    result = Result.decode(payload)
    return Outcome(result.worker, result.timings_ms.get("total", 0.0), result.repeats is not None)


def _rejection(payload: bytes) -> Outcome:
    return Outcome(Rejection.decode(payload).worker, None)


class Fleet:
    """A connection that follows statuses, claims, commands and answers. A context manager; thread-safe."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        *,
        timeout: float,
        answers: bool = False,
        also: Sequence[str] = (),
    ) -> None:
        """Prepare the connection; entering opens it.

        Args:
            broker: where.
            topics: the fleet's.
            timeout: seconds to wait for the broker: for the connection, and for each confirmation.
            answers: whether to follow the live answers as well.
            also: further topic filters, of what is retained.
        """
        self.topics = topics
        #: The latest status of each worker that can be read, and its arrival.
        self.statuses: Dict[str, WorkerStatus] = {}
        self.arrivals: Dict[str, Arrival] = {}
        #: By worker, what is wrong with a status that cannot be read; and those whose status was removed.
        self.unreadable: Dict[str, str] = {}
        self.removed: Set[str] = set()
        #: By dead worker and adopter, the latest claim, and its arrival.
        self.claims: Dict[Tuple[str, str], Tuple[AdoptionClaim, Arrival]] = {}
        #: The same pairs for all claims that are retained, those that cannot be read included.
        self.claimed: Set[Tuple[str, str]] = set()
        #: The retained payload on each control topic, and on each topic of `also`.
        self.commands: Dict[str, bytes] = {}
        self.also: Dict[str, bytes] = {}
        self._answers: Deque[Outcome] = collections.deque(maxlen=MAX_OUTCOMES)
        self._timeout = timeout
        self._last = time.monotonic()
        follow = [topics.worker("+"), topics.adoption("+", "+")]
        follow += [topics.model_command(), topics.model_command("+"), *also]
        if answers:
            follow += [topics.results("+"), topics.rejects("+")]
        self.connection = Connection(
            broker,
            f"nanofleet-operator-{uuid.uuid4().hex[:12]}",
            on_delivery=self._receive,
            subscriptions=dict.fromkeys(follow, 1),
            largest_packet=MAX_ANSWER_PACKET,
        )

    def __enter__(self) -> Fleet:
        """Connect, and wait until the retained messages have come.

        Raises:
            NanofleetError: the broker refused, or was not there in time.
        """
        connect_within(self.connection, self._timeout)
        wait_until_quiet(self.connection, lambda: self._last, QUIET)
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def take_answers(self) -> List[Outcome]:
        """The live answers since the last call, or the last of them."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def retain(self, topic: str, payload: bytes) -> None:
        """Publish a retained message, and wait until the broker has it; an empty one takes it back.

        Raises:
            NanofleetError: as `take_back` does.
        """
        self._retain([topic], payload)

    def take_back(self, topics: Sequence[str]) -> None:
        """Take retained messages back, and wait until the broker has confirmed all.

        Raises:
            ConnectionRefused: the broker does not let this user write there.
            NanofleetError: the connection has ended, or the broker did not confirm in time.
        """
        self._retain(topics, b"")

    def _retain(self, topics: Sequence[str], payload: bytes) -> None:
        codes: Dict[str, int] = {}
        for topic in topics:
            confirmed = functools.partial(codes.__setitem__, topic)
            self.connection.publish(Publication(topic, payload, retain=True, on_puback=confirmed))
        self.wait_for(lambda: len(codes) == len(topics), self._timeout)
        for topic in topics:
            if topic not in codes:
                within = f"within {self._timeout:g} s{because(self.connection)}"
                raise NanofleetError(f"{self.connection.broker} did not confirm {topic} {within}")
            if codes[topic] >= 0x80:
                raise ConnectionRefused(
                    f"{self.connection.broker} refuses {topic} (0x{codes[topic]:02x}): "
                    "check its ACL for this user"
                )

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is true; False if it did not become so in time.

        Raises:
            NanofleetError: the connection has ended.
        """
        return wait_for(self.connection, condition, seconds)

    def _receive(self, delivery: Delivery) -> None:
        self.connection.ack(delivery)
        if delivery.retain:
            self._last = time.monotonic()
        topic, payload = delivery.topic, delivery.payload
        if topic.startswith(self.topics.worker("")):
            name, *below = topic[len(self.topics.worker("")) :].split("/")
            if below:
                self._receive_claim(name, below[-1], delivery)
            else:
                self._receive_status(name, delivery)
        elif topic.startswith((self.topics.results(""), self.topics.rejects(""))):
            # A payload that cannot be read is not a worker's: anybody may publish anything.
            with contextlib.suppress(DecodeError):
                is_result = topic.startswith(self.topics.results(""))
                self._answers.append(_result(payload) if is_result else _rejection(payload))
        else:
            kept = self.commands if topic.startswith(f"{self.topics.root}/control/") else self.also
            if payload:
                # Of one that is too long to be read it is enough to see that.
                kept[topic] = payload[: CameraSettings.MAX_BYTES + 1]
            else:
                kept.pop(topic, None)

    def _receive_status(self, name: str, delivery: Delivery) -> None:
        if not delivery.payload:
            self.removed.add(name)
            return
        try:
            status = WorkerStatus.decode(delivery.payload)
        except DecodeError as error:
            self.unreadable[name] = str(error)
        else:
            self.arrivals[name] = _arrival(delivery, status.sent_at)
            self.statuses[name] = status
            self.unreadable.pop(name, None)
        self.removed.discard(name)

    def _receive_claim(self, dead: str, worker: str, delivery: Delivery) -> None:
        self.claims.pop((dead, worker), None)
        (self.claimed.add if delivery.payload else self.claimed.discard)((dead, worker))
        # A payload that cannot be read is no claim.
        with contextlib.suppress(DecodeError):
            claim = AdoptionClaim.decode(delivery.payload)
            self.claims[dead, worker] = claim, _arrival(delivery, claim.sent_at)


def _arrival(delivery: Delivery, sent_at: datetime) -> Arrival:
    return Arrival(time.monotonic(), delivery.retain, (utc_now() - sent_at).total_seconds())
