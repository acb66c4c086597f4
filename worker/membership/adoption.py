"""Adopting a worker that does not return: its session is drained through this worker's own pipeline.

Some brokers, Mosquitto among them, keep dealing frames to a dead member's session. The adopter connects
with the dead one's client id, which makes the session its own, and ends it once it is empty. If the dead
worker returns meanwhile, the broker takes the session back from the adopter, whose acks are then void.

    connect as the dead one ──> unsubscribe ──> claim `draining` ──> drain ──> claim `ended` ──> expiry 0

A status may have come over a bridge, from another site: a worker whose session this broker does not have is
left to those that share a broker with it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Literal, Optional

from wire.broker import Broker
from wire.errors import NanofleetError
from wire.messages import AdoptionClaim, WorkerStatus, utc_now
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.topics import client_id
from worker.delivery.unacked import Unacked
from worker.membership.session_drain import Drain
from worker.metrics import Metrics
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

_TICK = 0.05


class _Ended(Exception):
    """The adoption ends before its time; the session stays with the broker."""


class Adoption:
    """One adoption, in a thread of its own."""

    def __init__(
        self,
        broker: Broker,
        dead: WorkerStatus,
        settings: WorkerSettings,
        metrics: Metrics,
        *,
        by: str,
        stop: threading.Event,
        call: Callable[[Callable[[], None]], None],
        receive: Callable[[Delivery, Unacked], None],
    ) -> None:
        """Prepare an adoption.

        Args:
            broker: where the session is.
            dead: the last status of the worker that died.
            settings: this worker's, whose shared subscriptions are the dead one's as well.
            metrics: counts the frames, and how it ends.
            by: this worker's id.
            stop: set when this worker leaves; the session is then somebody else's to adopt.
            call: runs a function in the thread that `receive` belongs to.
            receive: takes the session's frames in, as it does this worker's own.
        """
        self.worker = dead.worker
        #: Set once it turns out that this broker has no session of the dead worker.
        self.absent = False
        #: The frames in hand that belong to this session; used by the thread of `receive` only.
        self.unacked = Unacked(self._ack)
        self._dead = dead
        self._by = by
        #: Where this worker's claims stand, and where they come back as the drain's marker.
        self._topic = settings.topics.adoption(dead.worker, by)
        self._statuses = settings.topics.worker("")
        self._settings = settings
        self._receive = receive
        self._stop = stop
        self._call = call
        self._metrics = metrics
        self._drain: Optional[Drain] = None
        self._session_present = False
        self._delivered = 0
        self._taken = 0
        self._passed_over = 0
        self._connection = Connection(
            broker,
            client_id(dead.worker),
            on_delivery=self._deliver,
            on_connected=self._connected,
            # The session has them; but rumqttd confirms only the end of what this connection has begun.
            subscriptions={**dict.fromkeys(settings.subscriptions, 1), self._topic: 1},
            # Where the session is gone there is nothing to take over, and frames dealt to a new one are lost.
            subscribe_in_new_session=False,
            session_expiry=settings.session_expiry,
            # On top of the worker's own.
            receive_maximum=settings.window,
            reconnect=False,
        )
        self._thread = threading.Thread(target=self._run, name="adoption", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait for its end, which `stop` brings about."""
        self._thread.join()

    # --- in the adoption's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        log.warning("%s does not return: adopting its frames", self.worker)
        try:
            with self._connection as connection:
                self._wait(connection.connected.is_set)
                if not self._session_present:
                    self.absent = True
                    connection.close(session_expiry=0)
                    self._metrics.adoptions.labels("no_session").inc()
                    log.info("this broker has no session of %s: nothing to adopt", self.worker)
                    return
                self._empty(connection)
                self._end(connection)
        except (_Ended, NanofleetError) as ended:
            self._metrics.adoptions.labels("cut_short").inc()
            log.warning("adoption of %s ended after %d frames: %s", self.worker, self._taken, ended)
        else:
            self._metrics.adoptions.labels("adopted").inc()
            log.warning("adopted %s: %d frames", self.worker, self._taken)

    def _empty(self, connection: Connection) -> None:
        self._drain = Drain(
            connection, self.unacked, self._settings.subscriptions, lambda: self._claim("draining")
        )
        claimed = time.monotonic()
        while self._taken + self._passed_over != self._delivered or not self._drain.finished():
            self._check()
            if time.monotonic() - claimed > self._settings.status_interval:
                connection.publish(self._claim("draining"))
                claimed = time.monotonic()
            time.sleep(_TICK)

    def _end(self, connection: Connection) -> None:
        # Through this very connection: if the dead one has returned, it has closed, and this says nothing.
        told = threading.Event()
        connection.publish(self._claim("ended", on_puback=lambda code: told.set()))
        self._wait(told.is_set)
        connection.close(session_expiry=0)

    def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._check()
            time.sleep(_TICK)

    def _check(self) -> None:
        self._connection.check()
        if self._stop.is_set():
            raise _Ended("this worker leaves")
        if self._connection.ended.is_set():
            raise _Ended("the connection is gone; has the worker returned?")

    def _claim(
        self, state: Literal["draining", "ended"], on_puback: Optional[Callable[[int], None]] = None
    ) -> Publication:
        claim = AdoptionClaim(
            dead=self.worker,
            instance=self._dead.instance,
            worker=self._by,
            state=state,
            frames=self._taken,
            sent_at=utc_now(),
        )
        return Publication(self._topic, claim.encode(), retain=True, on_puback=on_puback)

    # --- in its connection's network thread -------------------------------------------------------------

    def _connected(self, session_present: bool) -> None:
        self._session_present = session_present

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.topic.startswith(self._statuses):
            self._connection.ack(delivery)
            if self._drain and delivery.topic == self._topic:
                self._drain.hear_marker(delivery.payload)
            return
        if self._drain:
            if self._drain.late:
                return  # it goes with the session, and whoever takes frames has got it as well
            self._drain.hear_frame()
        self._delivered += 1
        # The pipeline belongs to the worker's own network thread.
        self._call(lambda: self._take(delivery))

    def _take(self, delivery: Delivery) -> None:
        if self._settings.camera_of(delivery.topic) is not None:
            self._receive(delivery, self.unacked)
            self._metrics.adopted_frames.inc()
            self._taken += 1
            return
        if delivery.qos:
            self.unacked.pass_over(delivery)  # a command, which may have been taken back since
        self._passed_over += 1

    def _ack(self, delivery: Delivery) -> bool:
        def ack() -> None:
            self._connection.ack(delivery)

        self._connection.call(ack)
        return True
