"""An observer's life, in a thread of its own.

connect, announce itself ──> elected? ── no ──> stand by: a status now and then, and nothing a frame
   ^                            └── yes ──> follow, until another is first or the lease ends
   └── trouble: with a connection of its own each time, so that nothing old is sent again
"""

from __future__ import annotations

import collections
import contextlib
import logging
import random
import threading
import time
import uuid
from typing import Deque, Iterator

from fleet.observer.election import Election
from fleet.observer.task import Task
from fleet.observer.term import STEP_SECONDS, Came, Term
from wire.errors import ConnectionRefused, NanofleetError
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Publication
from wire.mqtt.reach import because
from wire.observers import ObserverStatus
from wire.waiting import wait_until

log = logging.getLogger(__name__)

#: Statuses of others that wait to be read; more come only from somebody who floods.
MOST_WAITING = 10_000
#: Seconds until the next try to connect: at first, and at most; and after a refusal.
FIRST_PAUSE, MOST_PAUSE, REFUSED_PAUSE = 1.0, 30.0, 60.0
#: Seconds that a connection has to close, and one that was not made; and that the thread has to end.
CLOSE_SECONDS, GIVE_UP_SECONDS, END_SECONDS = 2.0, 0.2, 10.0


class Observer:
    """One observer: `run` is its life."""

    def __init__(self, task: Task) -> None:
        """Prepare it.

        Args:
            task: what it does.
        """
        self._task = task
        self._instance = uuid.uuid4().hex
        self._topic = task.topics.observer(task.observer)
        self._has_been_there = False

    def run(self, stop: threading.Event, *, patient: bool) -> None:
        """Observe until told to stop.

        Args:
            stop: ends it.
            patient: whether to try again also where the broker refuses at the first try.

        Raises:
            NanofleetError: the broker refuses, and it is not patient.
        """
        pause, last = FIRST_PAUSE, ""
        while not stop.is_set():
            since = time.monotonic()
            level, trouble = logging.INFO, ""
            try:
                self._serve(stop)
                return
            except ConnectionRefused as error:
                if not patient and not self._has_been_there:
                    raise
                level, trouble, pause = logging.WARNING, str(error), REFUSED_PAUSE
            except NanofleetError as error:
                trouble, pause = str(error), min(2 * pause, MOST_PAUSE)
            except Exception:  # a fault of the observer must not end the worker that it runs in
                log.exception("not observing; trying again in %.0f s", MOST_PAUSE)
                pause = MOST_PAUSE
            if time.monotonic() - since > MOST_PAUSE:
                pause, last = min(pause, FIRST_PAUSE), ""
            if trouble:
                log.log(
                    logging.DEBUG if trouble == last else level, "not observing: %s; trying again", trouble
                )
            last = trouble
            wait_until(stop.is_set, pause * random.uniform(0.8, 1.2), step=STEP_SECONDS)

    def _serve(self, stop: threading.Event) -> None:
        """Take part in the election, and follow while elected.

        Raises:
            NanofleetError: a connection was refused, not made, or lost.
        """
        came: Deque[Came] = collections.deque(maxlen=MOST_WAITING)
        task = self._task
        connection = Connection(
            task.broker,
            f"nanofleet-observer-{task.observer}-{self._instance[:8]}",
            on_delivery=came.append,
            subscriptions={task.topics.observer("+"): 0},
            will=Publication(self._topic, b"", retain=True),
            largest_packet=2 * ObserverStatus.MAX_BYTES,
            reconnect=False,
        )
        election = Election(task.observer, self._instance, task.topics.root, task.lease)
        connection.__enter__()
        try:
            if _is_subscribed(connection, stop):
                Term(task, self._instance, election, connection, came).run(stop)
        finally:
            self._has_been_there |= election.was_confirmed
            connection.publish(Publication(self._topic, b"", retain=True))
            connection.close(timeout=CLOSE_SECONDS if connection.connected.is_set() else GIVE_UP_SECONDS)


def _is_subscribed(connection: Connection, stop: threading.Event) -> bool:
    """Wait until the broker has confirmed the subscription; False if `stop` was set first.

    Raises:
        NanofleetError: the broker refused, or was not there.
    """
    subscribed = connection.subscribed.is_set
    wait_until(lambda: subscribed() or connection.ended.is_set() or stop.is_set(), MOST_PAUSE)
    connection.check()
    if not subscribed() and not stop.is_set():
        raise NanofleetError(f"cannot reach {connection.broker}{because(connection)}")
    return subscribed()


@contextlib.contextmanager
def observing(task: Task) -> Iterator[None]:
    """Observe in a thread while the block lasts, whatever becomes of it."""
    stop = threading.Event()

    def run() -> None:
        Observer(task).run(stop, patient=True)

    thread = threading.Thread(target=run, name="observer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_SECONDS)
