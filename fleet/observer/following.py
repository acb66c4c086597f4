"""What the active observer reads, and what comes of it.

results, rejects ────────> Cameras ── due ──> cameras/<camera>, events/<camera>
settings, control/announce ──┘ │
cameras (retained: restore) ───┘             ┌─> Announcements
workers ──> clocks, model changes, ──────────┘

First it takes what is retained; answers that come meanwhile wait for that.
"""

from __future__ import annotations

import collections
import logging
import time
from typing import Callable, Deque, Union

from fleet.observer.bursts import Bursts
from fleet.observer.cameras import Cameras, shortened
from fleet.observer.discovery.announcer import Announcer
from fleet.observer.publishing import Publishing
from fleet.observer.restoring import Restoring
from fleet.observer.task import Task
from fleet.observer.workers import Workers
from wire.camera_settings import CameraBook
from wire.cameras import CameraState
from wire.discovery import BIRTH_TOPIC
from wire.errors import DecodeError, NanofleetError
from wire.lengths import MAX_ANSWER_PACKET
from wire.messages import Rejection, Result
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.topics import is_id
from wire.waiting import wait_until

log = logging.getLogger(__name__)

#: Answers that wait until all that is retained has come.
MOST_EARLY = 1000
#: Seconds between two looks at what time alone has made due.
TICK_SECONDS = 0.25
#: Seconds between two times that everything is published again because somebody asks: anybody may ask.
ASKED_SECONDS = 1.0
#: Seconds that the last states have to leave.
LEAVE_SECONDS = 2.0


class Following:
    """The connection of the active observer. A context manager; all else happens in its network thread."""

    def __init__(self, task: Task, client_id: str, may_publish: Callable[[], bool]) -> None:
        """Prepare it.

        Args:
            task: what the observer is to do.
            client_id: of the connection.
            may_publish: whether this observer is still the active one.
        """
        self.cameras = Cameras(CameraBook(task.file, keep=shortened), task.silent_after)
        self._topics = topics = task.topics
        self._may_publish = may_publish
        self._publishing = Publishing(self._publish, may_publish)
        self._announcer = Announcer(topics, task.discovery_prefix, self._publishing.put)
        self._workers = Workers(self.cameras.worker_clocks)
        self._early: Deque[Union[Result, Rejection]] = collections.deque(maxlen=MOST_EARLY)
        self._restoring = Restoring()
        self._is_restored = self._is_settled = False
        self._bursts = Bursts()
        self._asked = False
        self._next_asked = time.monotonic()
        self._next_tick = time.monotonic()
        # What is retained at QoS 1, so that no broker leaves anything out of a burst; answers at 0, which is
        # the cheapest: what is lost with a connection is not counted.
        kept = [topics.camera("+"), topics.camera_settings("+"), topics.worker("+"), topics.announce]
        kept += self._announcer.subscriptions
        live = [topics.results("+"), topics.rejects("+")]
        self.connection = Connection(
            task.broker,
            client_id,
            on_delivery=self._deliver,
            subscriptions={**dict.fromkeys(kept, 1), **dict.fromkeys(live, 0)},
            largest_packet=MAX_ANSWER_PACKET,
            reconnect=False,
        )

    # --- for the observer's thread ----------------------------------------------------------------------

    def __enter__(self) -> Following:
        self.connection.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close(timeout=LEAVE_SECONDS)

    def look_after(self) -> None:
        """Publish what time alone has made due; to be called several times a second.

        Raises:
            NanofleetError: the connection has ended.
        """
        self.connection.check()
        if self.connection.ended.is_set():
            raise NanofleetError(f"the connection to {self.connection.broker} has ended")
        if self.connection.subscribed.is_set() and time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_SECONDS
            self.connection.call(self._tick)

    def publish_all(self) -> None:
        """Publish all states as they are, for the next observer to go on from, as far as there is time."""
        done = []

        def publish() -> None:
            for state in self.cameras.all_changed() if self._is_restored else ():
                self._publish_state(state)
            done.append(True)

        self.connection.call(publish)
        wait_until(lambda: (done and self._publishing.idle) or self.connection.ended.is_set(), LEAVE_SECONDS)

    # --- in the network thread ----------------------------------------------------------------------------

    def _publish(self, publication: Publication) -> None:
        self.connection.publish(publication)

    def _tick(self) -> None:
        if not self._may_publish():
            return
        self._restoring.begin()
        if not self._is_restored:
            if not self._restoring.is_complete:
                return
            self._restore()
        if not self._is_settled and self._restoring.is_settled:
            self._is_settled = True
            self._announcer.keep([known.camera for known in self.cameras.states()], self._workers.names)
        if self._asked and time.monotonic() >= self._next_asked:
            self._asked, self._next_asked = False, time.monotonic() + ASKED_SECONDS
            self._publish_again()
        for state in self.cameras.all_due():
            self._publish_state(state)
        self._publishing.pump()

    def _restore(self) -> None:
        """Go on from what is retained."""
        for state in self._restoring.take():
            self.cameras.restore(state)
        self._is_restored = True
        for status in self._workers.statuses():
            self._announcer.worker(status)
        log.info("observing the cameras of %s: %d were known", self._topics.root, len(self.cameras.states()))
        while self._early:
            self._take(self._early.popleft())

    def _publish_again(self) -> None:
        self.cameras.publish_all_again()
        self._announcer.again()

    def _publish_state(self, state: CameraState) -> None:
        camera = state.camera
        words = self.cameras.vocabulary(camera, self._workers.labels)
        if self._announcer.camera(state, words, self.cameras.silent_after(camera)):
            self.cameras.publish_again(camera)
        self._publishing.put(Publication(self._topics.camera(camera), state.encode(), retain=True))

    def _deliver(self, delivery: Delivery) -> None:
        self.connection.ack(delivery)
        # One that was frozen wakes up with what has come meanwhile, and another has counted that.
        if not self._may_publish():
            return
        try:
            self._read(delivery)
        except DecodeError as error:  # anybody may publish anything
            log.debug("%s: %s", delivery.topic, error)

    def _read(self, delivery: Delivery) -> None:
        topics, topic = self._topics, delivery.topic
        if delivery.retain:
            self._restoring.came()
        if topic.startswith(topics.results("")):
            self._receive_answer(Result.decode(delivery.payload), delivery)
        elif topic.startswith(topics.rejects("")):
            self._receive_answer(Rejection.decode(delivery.payload), delivery)
        elif topic.startswith(topics.worker("")):
            self._receive_worker(topic[len(topics.worker("")) :], delivery)
        elif topic.startswith(topics.camera("")):
            self._receive_state(topic[len(topics.camera("")) :], delivery)
        elif topic.startswith(topics.camera_settings("")):
            self.cameras.receive_settings(topic[len(topics.camera_settings("")) :], delivery.payload)
        elif topic == topics.announce or (topic == BIRTH_TOPIC and delivery.payload == b"online"):
            self._asked = True
        elif self._announcer.receive(topic, delivery.payload) and not delivery.payload:
            self._publishing.empty(topic)

    def _receive_answer(self, answer: Union[Result, Rejection], delivery: Delivery) -> None:
        of = self._topics.results if isinstance(answer, Result) else self._topics.rejects
        if delivery.retain or delivery.topic != of(answer.camera):
            return  # no worker's
        self._bursts.rest()
        if self._is_restored:
            self._take(answer)
        else:
            self._early.append(answer)

    def _take(self, answer: Union[Result, Rejection]) -> None:
        event = self.cameras.receive(answer)
        if event is not None:
            self._publishing.put(Publication(self._topics.camera_event(event.camera), event.encode()))
        state = self.cameras.due(answer.camera)
        if state is not None:
            self._publish_state(state)

    def _receive_state(self, camera: str, delivery: Delivery) -> None:
        if not is_id(camera):
            return
        if not delivery.payload:
            self._restoring.forget(camera)
            self.cameras.forget(camera)
            self._publishing.empty(delivery.topic)
            self._announcer.remove_camera(camera)
        elif delivery.retain:
            state = CameraState.decode(delivery.payload)
            if state.camera != camera:
                return
            if self._is_restored:  # it comes late
                self.cameras.restore(state)
            else:
                self._restoring.add(state)

    def _receive_worker(self, name: str, delivery: Delivery) -> None:
        if not delivery.payload:
            if self._workers.forget(name):
                self._announcer.remove_worker(name)
            return
        before = self._workers.of(name)
        status = self._workers.receive(name, delivery.payload, retained=delivery.retain)
        if status is None:
            return
        if before and (before.model, before.weights) != (status.model, status.weights):
            self._asked = True
        if self._is_restored:
            self._announcer.worker(status)
