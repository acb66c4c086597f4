"""An observer's time from one connect to its end: it takes part in the election, follows while elected."""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Deque, Optional, Union

import wire
from fleet.observer.election import Election
from fleet.observer.following import Following
from fleet.observer.task import Task
from fleet.observer.worker_clocks import boot_clock
from wire.errors import ConnectionRefused, DecodeError, NanofleetError
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.pubacks import REFUSED
from wire.observers import ObserverStatus

log = logging.getLogger(__name__)

#: Seconds between two looks.
STEP_SECONDS = 0.1

#: What came from the broker: others' statuses, and when a status of this observer was sent that it has taken.
Came = Union[Delivery, float]


class Term:
    """All but `came`, which the connection fills, happens in the observer's thread."""

    def __init__(
        self,
        task: Task,
        instance: str,
        election: Election,
        connection: Connection,
        came: Deque[Came],
    ) -> None:
        """Begin as a newcomer.

        Args:
            task: what it does.
            instance: a random name of the process.
            election: as it stands, with nobody known yet.
            connection: to the broker, subscribed.
            came: what comes by it.
        """
        self._task = task
        self._instance = instance
        self._election = election
        self._connection = connection
        self._came = came
        self._topic = task.topics.observer(task.observer)
        self._following: Optional[Following] = None
        self._next_status = boot_clock()
        self._says_that_it_stands_by = False

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop; then let another go on from where this one is.

        Raises:
            NanofleetError: a connection was lost, or the broker refuses.
        """
        try:
            while not stop.is_set():
                self._step()
                time.sleep(STEP_SECONDS)
            if self._following is not None:
                self._following.publish_all()
        finally:
            self._stop_following()

    def _step(self) -> None:
        self._connection.check()
        if self._connection.ended.is_set():
            raise NanofleetError(f"the connection to {self._connection.broker} was lost")
        while self._came:
            came = self._came.popleft()
            if isinstance(came, Delivery):
                self._receive(came)
            else:
                self._election.confirmed(came)
        first = self._election.is_first()
        if first and self._following is None:
            self._election.active = True
            self._publish_status()
            self._start_following()
        elif self._following is not None and not first:
            log.info("no longer observing: another one does, or the broker has confirmed no status in time")
            self._stop_following()
            self._publish_status()
        elif boot_clock() >= self._next_status:
            self._publish_status()
        if self._following is not None:
            self._following.look_after()
        elif not self._says_that_it_stands_by:
            self._say_who_observes()

    def _say_who_observes(self) -> None:
        """Log who is active instead; once, because anybody may publish statuses."""
        other = self._election.active_other()
        if other is not None:
            self._says_that_it_stands_by = True
            log.info("standing by: %s observes %s", other, self._task.topics.root)

    def _start_following(self) -> None:
        task = self._task
        client_id = f"nanofleet-following-{task.observer}-{self._instance[:8]}"
        self._says_that_it_stands_by = False
        following = Following(task, client_id, self._election.may_publish)
        self._following = following.__enter__()

    def _stop_following(self) -> None:
        self._election.active = False
        if self._following is not None:
            self._following.__exit__(None, None, None)
            self._following = None

    def _publish_status(self) -> None:
        sent = boot_clock()
        self._next_status = sent + self._task.interval
        status = ObserverStatus(
            observer=self._task.observer,
            instance=self._instance,
            active=self._election.active,
            lease_seconds=self._task.lease,
            version=wire.__version__,
        )
        publication = Publication(self._topic, status.encode(), retain=True, on_puback=self._confirmed(sent))
        self._connection.publish(publication)

    def _confirmed(self, sent: float) -> Callable[[int], None]:
        def confirm(reason_code: int) -> None:
            if reason_code >= REFUSED:
                raise ConnectionRefused(
                    f"{self._connection.broker} refuses {self._topic} (0x{reason_code:02x}): "
                    "its ACL must let this user write there"
                )
            # Behind what came before it: one that was frozen reads of the others before it holds a new lease.
            self._came.append(sent)

        return confirm

    def _receive(self, delivery: Delivery) -> None:
        observer = delivery.topic[len(self._task.topics.observer("")) :]
        if not delivery.payload:
            self._election.left(observer)
            return
        try:
            status = ObserverStatus.decode(delivery.payload)
        except DecodeError as error:
            log.debug("%s: %s", delivery.topic, error)
        else:
            if status.observer == observer:
                self._election.receive(status, retained=delivery.retain)
