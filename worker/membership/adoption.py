"""Adopting a worker that does not return: its session is drained through this worker's own pipeline.

Some brokers, Mosquitto among them, keep delivering frames to a dead member's session. The adopter connects
with the dead worker's client id, which makes the session its own, and ends it once it is empty. If the dead
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

from wire.errors import NanofleetError
from wire.messages import AdoptionClaim, WorkerStatus, utc_now
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.reach import because
from wire.topics import client_id
from wire.waiting import wait_until
from worker.delivery.unacked import Unacked
from worker.membership.session_drain import Drain
from worker.worker import Worker

log = logging.getLogger(__name__)


class _Ended(Exception):
    """The adoption ends before its time; the session stays with the broker."""


class Adoption:
    """One adoption, in a thread of its own.

    Attributes:
        dead: the last status of the worker that died.
        session_absent: set once it turns out that this broker has no session of that worker.
        unacked: the frames in hand that belong to its session; used by the thread of `receive` only.
    """

    def __init__(
        self,
        dead: WorkerStatus,
        adopter: Worker,
        connection: Connection,
        receive: Callable[[Delivery, Unacked], None],
    ) -> None:
        """Prepare an adoption.

        Args:
            dead: the last status of the worker that died.
            adopter: this worker, whose shared subscriptions are the dead one's as well.
            connection: this worker's own, to the broker that has the session; `receive` runs in its thread.
            receive: takes the session's frames in, as it does this worker's own.
        """
        self.dead = dead
        self.session_absent = False
        self.unacked = Unacked(self._ack)
        self._adopter = adopter
        self._settings = adopter.settings
        self._metrics = adopter.metrics.membership
        #: Where this worker's claims stand, and where they come back as the drain's marker.
        self._topic = self._settings.topics.adoption(dead.worker, adopter.id)
        self._statuses = self._settings.topics.worker("")
        self._call = connection.call
        self._receive = receive
        self._drain: Optional[Drain] = None
        self._claimed_at = 0.0
        self._session_present = False
        self._delivered, self._taken, self._passed_over = 0, 0, 0
        self._connection = self._connection_to(connection)
        self._thread = threading.Thread(target=self._run, name="adoption", daemon=True)

    def _connection_to(self, own: Connection) -> Connection:
        """A connection to the same broker that has the dead worker's session."""
        settings = self._settings
        return Connection(
            own.broker,
            client_id(self.dead.worker),
            on_delivery=self._deliver,
            on_connected=self._connected,
            # The session has them; but rumqttd confirms only the end of what this connection has begun.
            subscriptions={**dict.fromkeys(settings.subscriptions, 1), self._topic: 1},
            # Where the session is gone there is nothing to take over, and a new one's frames would be lost.
            subscribe_in_new_session=False,
            session_expiry=settings.session_expiry,
            # This window comes on top of the worker's own.
            receive_maximum=settings.receive_maximum,
            reconnect=False,
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait for its end, which comes soon once the adopter is to leave."""
        self._thread.join()

    # --- in the adoption's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        dead, outcomes = self.dead.worker, self._metrics.adoptions
        log.warning("%s does not return: adopting its frames", dead)
        try:
            with self._connection as connection:
                wait_until(connection.connected.is_set, check=self._check)
                if not self._session_present:
                    self.session_absent = True
                    connection.close(session_expiry=0)
                    outcomes.labels("no_session").inc()
                    log.info("this broker has no session of %s: nothing to adopt", dead)
                    return
                self._drain = Drain(
                    connection, self.unacked, self._settings.subscriptions, lambda: self._claim("draining")
                )
                self._claimed_at = time.monotonic()
                wait_until(self._is_empty, check=self._keep_claim)
                self._end(connection)
        except (_Ended, NanofleetError) as ended:
            outcomes.labels("cut_short").inc()
            log.warning("adoption of %s ended after %d frames: %s", dead, self._taken, ended)
        else:
            outcomes.labels("adopted").inc()
            log.warning("adopted %s: %d frames", dead, self._taken)

    def _is_empty(self) -> bool:
        assert self._drain is not None
        return self._taken + self._passed_over == self._delivered and self._drain.finished()

    def _keep_claim(self) -> None:
        """Claim the session as often as a worker publishes its status, or another would adopt it as well."""
        self._check()
        if time.monotonic() - self._claimed_at > self._settings.status_interval:
            self._connection.publish(self._claim("draining"))
            self._claimed_at = time.monotonic()

    def _end(self, connection: Connection) -> None:
        # Through this very connection: if the dead worker has returned, it is closed, and nothing is claimed.
        claimed = threading.Event()
        connection.publish(self._claim("ended", on_puback=lambda code: claimed.set()))
        wait_until(claimed.is_set, check=self._check)
        connection.close(session_expiry=0)

    def _check(self) -> None:
        self._connection.check()
        if self._adopter.life.leaving.is_set():
            raise _Ended("this worker leaves")
        if self._connection.ended.is_set():
            # Many brokers just hang up on one whose session another client takes over.
            raise _Ended(f"the connection is gone{because(self._connection)}; has the worker returned?")

    def _claim(
        self, state: Literal["draining", "ended"], on_puback: Optional[Callable[[int], None]] = None
    ) -> Publication:
        claim = AdoptionClaim(
            dead=self.dead.worker,
            instance=self.dead.instance,
            worker=self._adopter.id,
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
                self._drain.receive_marker(delivery.payload)
            return
        if self._drain:
            if self._drain.late:
                return  # it goes with the session, and those that take frames have got it as well
            self._drain.receive_frame()
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

    def _ack(self, delivery: Delivery) -> None:
        def ack() -> None:
            self._connection.ack(delivery)

        self._connection.call(ack)
