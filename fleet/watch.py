"""The fleet as an operator's command sees it: statuses, commands in force, live answers."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from types import TracebackType
from typing import Callable, Dict, List, Optional, Type, Union

from wire.broker import Broker
from wire.connection import Connection
from wire.errors import ConnectionRefused, DecodeError, NanofleetError
from wire.messages import Rejection, Result, WorkerStatus
from wire.packets import Delivery, Publication
from wire.topics import Topics

#: Retained messages follow the SUBACK at once; after so many seconds without one, all have come.
QUIET = 0.5


class Fleet:
    """A connection that follows what the workers say. A context manager; thread-safe."""

    def __init__(self, broker: Broker, topics: Topics, *, answers: bool = False) -> None:
        """Args:
        answers: whether to follow the live answers as well.
        """
        self.topics = topics
        #: The latest status of each worker.
        self.statuses: Dict[str, WorkerStatus] = {}
        #: The retained payload on each control topic.
        self.commands: Dict[str, bytes] = {}
        self._answers: List[Union[Result, Rejection]] = []
        self._last = time.monotonic()
        follow = [topics.worker("+"), topics.model_command(), topics.model_command("+")]
        if answers:
            follow += [topics.results("+"), topics.rejects("+")]
        self.connection = Connection(
            broker,
            f"nanofleet-operator-{uuid.uuid4().hex[:12]}",
            on_delivery=self._receive,
            subscriptions=dict.fromkeys(follow, 1),
        )

    def __enter__(self) -> Fleet:
        """Connect, and wait until the retained messages have come.

        Raises:
            NanofleetError: the broker refused.
        """
        self.connection.__enter__()
        self.connection.wait_connected(threading.Event())
        self.wait_for(self.connection.subscribed.is_set, float("inf"))
        self._last = time.monotonic()
        while time.monotonic() - self._last < QUIET:
            self.connection.check()
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.connection.close()

    def online(self) -> List[str]:
        """The workers that are there, by name."""
        return sorted(name for name, status in self.statuses.items() if status.state == "online")

    def take_answers(self) -> List[Union[Result, Rejection]]:
        """The live answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def retain(self, topic: str, payload: bytes) -> None:
        """Publish a retained message, and wait until the broker has it; an empty one takes it back.

        Raises:
            ConnectionRefused: the broker does not let this user write there.
            NanofleetError: the connection has ended.
        """
        codes: List[int] = []
        self.connection.publish(Publication(topic, payload, retain=True, on_puback=codes.append))
        self.wait_for(lambda: bool(codes), float("inf"))
        if codes[0] >= 0x80:
            raise ConnectionRefused(
                f"{self.connection.broker} refuses {topic} (0x{codes[0]:02x}): check its ACL for this user"
            )

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is true; False if it did not become so in time.

        Raises:
            NanofleetError: the connection has ended.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.connection.check()
            if self.connection.ended.is_set():
                raise NanofleetError(f"the connection to {self.connection.broker} has ended")
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _receive(self, delivery: Delivery) -> None:
        self.connection.ack(delivery)
        if delivery.retain:
            self._last = time.monotonic()
        topic, payload = delivery.topic, delivery.payload
        # What cannot be read was not written by a worker of ours: anybody may publish anything.
        with contextlib.suppress(DecodeError):
            if topic.startswith(self.topics.worker("")):
                if payload:
                    self.statuses[topic[len(self.topics.worker("")) :]] = WorkerStatus.decode(payload)
            elif topic.startswith(self.topics.results("")):
                self._answers.append(Result.decode(payload))
            elif topic.startswith(self.topics.rejects("")):
                self._answers.append(Rejection.decode(payload))
            elif payload:
                self.commands[topic] = payload
            else:
                self.commands.pop(topic, None)
