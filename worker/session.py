"""A worker's session with its broker: what a connect, a loss, a delivery and a tick mean.

connect ──> beacon, status ──> deliveries ──> Reception ──> Pipeline
   ^                               └─ tick: clocks, status, spent claims, refused answers, whom to adopt
   └────────── loss: the broker will deliver again what is in hand
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Callable

from wire.broker import Broker
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.topics import client_id
from worker.delivery.unacked import Unacked
from worker.membership.actions import Actions
from worker.membership.adoptions import Adoptions
from worker.membership.dispute import Dispute
from worker.membership.leave import Leaving
from worker.membership.pacing import Pacing
from worker.membership.peers import Peers
from worker.membership.presence import LEASE_STATUSES, Presence
from worker.pipeline import Pipeline
from worker.reception import Reception
from worker.watchdog import Stalled, Watchdog
from worker.worker import Worker

log = logging.getLogger(__name__)

#: Seconds that the broker waits before it calls a vanished worker lost.
WILL_DELAY_SECONDS = 5


class Session:
    """A context manager: entering connects. The session itself outlives this process, and so do its frames.

    Attributes:
        watchdog: asks the parts whether they make progress.
    """

    def __init__(self, broker: Broker, worker: Worker) -> None:
        """Prepare the parts.

        Args:
            broker: where the session is.
            worker: whose session it is.
        """
        self._worker = worker
        self._settings = settings = worker.settings
        self._unacked = Unacked(self._ack, settings.receive_maximum)
        lease = LEASE_STATUSES * settings.status_interval
        self._peers = Peers(worker.id, settings.group, settings.inputs, settings.adopt_after, lease=lease)
        self._pacing = Pacing(
            self._peers,
            settings.step_aside_after,
            publish_status=self._publish_status,
            take_frames=self._take_frames,
        )
        self._adoptions = Adoptions(worker, self._peers)
        self._presence = Presence(worker, self._pacing, self._peers, self._in_hand)
        self._dispute = Dispute(worker.id)
        self._actions = Actions(worker)
        self._connection = connection = self._connection_to(broker)
        self._pipeline = Pipeline(worker, connection, self._presence, self._pacing)
        self._reception = Reception(worker, self._pipeline, self._presence, self._pacing, self._actions)
        self._leaving = Leaving(
            settings,
            connection,
            self._unacked,
            self._presence,
            self._pacing,
            self._dispute,
        )
        self.watchdog = Watchdog(settings.stall_timeout, connection.call)
        self._next_status = time.monotonic() + settings.status_interval
        self._parts = ExitStack()

    def _connection_to(self, broker: Broker) -> Connection:
        settings, presence = self._settings, self._presence
        control = [*self._worker.commands.topics, *self._actions.topics]
        topics = [*control, settings.topics.camera_settings("+")]
        own = [*settings.subscriptions, presence.topic, *topics]
        others = [*presence.others_topics, settings.topics.snapshot_notice("+")]
        return Connection(
            broker,
            client_id(self._worker.id),
            on_delivery=self._deliver,
            on_connected=self._connected,
            on_lost=self._lost,
            on_failure=self._worker.life.fail,
            # What the others publish comes at QoS 0: at 1 it would fill the queue of a worker that is away.
            subscriptions={**dict.fromkeys(own, 1), **dict.fromkeys(others, 0)},
            will=presence.publication("lost"),
            will_delay=WILL_DELAY_SECONDS,
            session_expiry=settings.session_expiry,
            receive_maximum=settings.receive_maximum,
            # The client that takes over may be an adopter that has not seen this worker return; a duplicate
            # shows by its status.
            gives_way=False,
        )

    def __enter__(self) -> Session:
        metrics, commands = self._worker.metrics, self._worker.commands
        metrics.frames.in_hand.set_function(self._in_hand)
        metrics.membership.aside.set_function(lambda: float(self._pacing.aside))
        metrics.serving.mismatch.set_function(lambda: float(commands.failed))
        self._worker.report_model()
        with ExitStack() as parts:
            parts.enter_context(self._pipeline)
            parts.enter_context(commands.following(self._report_change))
            parts.enter_context(self._connection)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._parts.__exit__(*exception)  # type: ignore[arg-type]

    # --- for the main thread --------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what has failed; post a tick if one is due.

        Raises:
            BaseException: what keeps the worker from going on.
        """
        self._worker.life.check()
        try:
            self.watchdog.check()
        except Stalled as error:
            self._worker.life.fail(error)
            raise
        if time.monotonic() >= self._next_status:  # a late status makes others take this worker for dead
            self._connection.call(self._tick)
            self._next_status += self._settings.status_interval

    def post_checks(self) -> None:
        """Post what may be time by now: to step aside or in, and to follow commands that were taken back."""
        self._connection.call(self._pacing.check)
        self._connection.call(self._reception.check_commands)

    def leave(self) -> int:
        """Take nothing new, answer what is in hand and what the broker still delivers, leave for good.

        Returns:
            The exit code, see `worker.membership.leave`.
        """
        # Asked before the join, which may outlast the dispute.
        disputed = self._dispute.is_open and not self._connection.traits.shows_duplicates
        self._dispute.count_again()
        self._adoptions.join()
        return self._leaving.leave(self.check, disputed, self._worker.life.restarts)

    def leave_at_once(self) -> None:
        """Leave what is in hand to the session's next worker, or to its adopter."""
        self._leaving.leave_session()

    # --- in the network thread: the connection --------------------------------------------------------

    def _connected(self, session_present: bool) -> None:
        self._unacked.connected(session_present)
        self._reception.connected(session_present)
        self._dispute.connected()
        self._worker.life.online = True
        self._worker.metrics.broker.connected.set(1)
        self._pipeline.outbox.connected()
        self._connection.publish(self._presence.beacon())
        if self._connection.reconnects:
            self._worker.metrics.broker.reconnects.inc()
            log.info("connected again to %s", self._connection.broker)
            status = self._presence.publication()
        else:
            status = self._presence.first_publication(self._connection.broker)
        self._connection.publish(status)
        self._actions.connected(status.payload, self._connection.traits.keeps_order)
        self._pacing.connected(may_step_aside=self._connection.traits.lets_members_rejoin)

    def _lost(self) -> None:
        self._unacked.lost()
        self._peers.forget()
        self._worker.life.online = False
        self._worker.metrics.broker.connected.set(0)
        self._dispute.lost()

    def _deliver(self, delivery: Delivery) -> None:
        if self._leaving.drain:
            self._leaving.receive(delivery)
        self._reception.receive(delivery, self._unacked)

    def _ack(self, delivery: Delivery) -> None:
        self._connection.ack(delivery)

    # --- in the network thread: the others --------------------------------------------------------------

    def _tick(self) -> None:
        self._pipeline.clocks.note()
        self._peers.tick()
        if not self._worker.life.online:  # what is published while offline piles up
            return
        self._publish_status()
        for publication in self._presence.taken_back():
            self._connection.publish(publication)
        self._pipeline.outbox.retry()
        self._adoptions.tick(self._connection, self._reception.receive)

    def _publish_status(self, then: Callable[[], None] = lambda: None) -> None:
        self._connection.publish(self._presence.publication(on_puback=lambda code: then()))

    def _take_frames(self, take: bool) -> None:
        if take:
            self._connection.subscribe(self._settings.subscriptions)
        else:
            self._worker.metrics.membership.asides.inc()
            self._connection.unsubscribe(self._settings.subscriptions)

    # --- in any thread ----------------------------------------------------------------------------------

    def _in_hand(self) -> int:
        """Frames received and not yet acked. In the network thread, or the metrics'."""
        return len(self._unacked) + self._adoptions.in_hand

    def _report_change(self) -> None:
        """Report that the model has changed, or could not. In the control thread."""
        self._worker.count_change()
        self._worker.report_model()
        self._connection.call(self._publish_status)
