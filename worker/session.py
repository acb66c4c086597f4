"""A worker's session with its broker: what a connect, a loss, a delivery and a tick mean.

connect ──> beacon, status ──> deliveries ──> Reception ──> Pipeline
   ^                               └─ tick: status, claims that are spent, refused answers, whom to adopt
   └────────── loss: the broker will deliver again what is in hand
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Callable, Optional

from wire.broker import Broker
from wire.errors import ConnectionRefused
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.mqtt.pubacks import NOT_AUTHORIZED
from wire.topics import client_id
from worker.delivery.unacked import Unacked
from worker.life import Life
from worker.membership.adoption import Adoption
from worker.membership.leave import Leaving
from worker.membership.pacing import Pacing
from worker.membership.peers import Peers
from worker.membership.presence import LEASE_STATUSES, Presence
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.reception import Reception
from worker.serving.commands import Commands
from worker.serving.switch import Switch
from worker.settings import WorkerSettings
from worker.watchdog import Stalled, Watchdog

log = logging.getLogger(__name__)

#: Seconds that the broker waits before it calls a vanished worker lost.
WILL_DELAY = 5
#: A connection that is lost within so many seconds, so many times, has another reason than the network.
SHORT_LIFE, SHORT_LIVES = 5.0, 3
#: Seconds after which nobody else can have taken the connection over: that one would have tried again by now.
UNDISPUTED = 2 * SHORT_LIFE
#: Seconds after its own first status until a new session has heard what is retained: not all brokers keep the
#: order between subscriptions.
ALL_HEARD_AFTER = 1.0


class Session:
    """A context manager: entering connects. The session itself outlives this process, and so do its frames.

    Attributes:
        watchdog: asks the parts whether they make progress.
    """

    def __init__(
        self,
        broker: Broker,
        settings: WorkerSettings,
        worker_id: str,
        switch: Switch,
        commands: Commands,
        metrics: Metrics,
        metrics_url: str,
        life: Life,
    ) -> None:
        """Args:
        broker: where the session is.
        settings: the worker's.
        worker_id: its name.
        switch: its models.
        commands: the commands to change them.
        metrics: what it tells Prometheus.
        metrics_url: where; empty for nowhere.
        life: whether it is to leave.
        """
        self._settings = settings
        self._worker_id = worker_id
        self._switch = switch
        self._commands = commands
        self._metrics = metrics
        self._life = life
        self._adoption: Optional[Adoption] = None
        self._unacked = Unacked(self._ack, settings.window)
        lease = LEASE_STATUSES * settings.status_interval
        self._peers = Peers(worker_id, settings.group, settings.inputs, settings.adopt_after, lease=lease)
        self._pacing = Pacing(
            self._peers,
            settings.step_aside_after,
            publish_status=self._publish_status,
            step_aside=self._step_aside,
            step_in=self._step_in,
        )
        self._presence = Presence(
            *(settings, worker_id, switch, commands, self._pacing, self._peers),
            in_hand=self._in_hand,
            metrics_url=metrics_url,
            started_at=life.started_at,
        )
        own = [*settings.subscriptions, self._presence.topic, *commands.topics]
        self._connection = Connection(
            broker,
            client_id(worker_id),
            on_delivery=self._deliver,
            on_connected=self._connected,
            on_lost=self._lost,
            on_failure=life.fail,
            # The others' statuses at QoS 0: at 1 they would fill the queue of a worker that is away.
            subscriptions={**dict.fromkeys(own, 1), **dict.fromkeys(self._presence.everybodys, 0)},
            will=self._presence.publication("lost"),
            will_delay=WILL_DELAY,
            session_expiry=settings.session_expiry,
            receive_maximum=settings.window,
            # It may be an adopter that heard nothing of this worker. A duplicate shows by its status.
            gives_way=False,
        )
        self._pipeline = Pipeline(
            settings, self._connection, switch, self._presence, self._pacing, metrics, life.fail
        )
        self._reception = Reception(settings, self._pipeline, self._presence, commands, self._pacing, metrics)
        self._leaving = Leaving(settings, self._connection, self._unacked, self._presence, self._pacing)
        self.watchdog = Watchdog(settings.stall_timeout, self._connection.call)
        self._next_status = time.monotonic() + settings.status_interval
        self._connected_at = 0.0
        #: When a session that began with this worker has heard its own status; None before.
        self._echoed_at: Optional[float] = None
        self._is_new = False
        self._short_lives = 0
        self._is_disputed = False
        self._parts = ExitStack()

    def __enter__(self) -> Session:
        self._show()
        with ExitStack() as parts:
            parts.enter_context(self._pipeline)
            parts.enter_context(self._commands.following(self._report_change))
            parts.enter_context(self._connection)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._parts.__exit__(*exception)  # type: ignore[arg-type]

    # --- for the main thread --------------------------------------------------------------------------

    def look_after(self) -> None:
        """Do what is due while the worker lives.

        Raises:
            BaseException: what keeps it from going on.
        """
        self._life.check()
        try:
            self.watchdog.check()
        except Stalled as error:
            self._life.fail(error)
            raise
        if time.monotonic() >= self._next_status:  # or the others would take it for dead
            self._connection.call(self._tick)
            self._next_status += self._settings.status_interval

    def look_around(self) -> None:
        """Step aside or in if it is time, and see to commands that were taken back."""
        self._connection.call(self._pacing.check)
        self._connection.call(self._check_commands)

    def leave(self) -> int:
        """Take nothing new, answer what is in hand and what the broker still hands over, leave for good.

        Returns:
            The exit code, as `worker.membership.leave` says.
        """
        hidden = not self._connection.traits.shows_duplicates
        disputed = hidden and self._is_disputed and self._lived() < UNDISPUTED
        self._short_lives = 0  # a network that was bad before may be good for long enough now
        if self._adoption is not None:
            self._adoption.join()  # its session stays, for another to adopt
        return self._leaving.leave(self.look_after, self._is_hung_up_on, disputed)

    def leave_at_once(self) -> None:
        """Leave what is in hand to the session's next worker, or to its adopter."""
        self._leaving.leave_session()

    # --- in the network thread: the connection --------------------------------------------------------

    def _connected(self, session_present: bool) -> None:
        self._unacked.connected(session_present)
        # One that was kept is told of what was taken back while this worker was away.
        self._is_new = not session_present
        self._connected_at = time.monotonic()
        self._life.online = True
        self._metrics.connected.set(1)
        self._pipeline.outbox.connected()
        self._connection.publish(self._presence.beacon())
        if self._connection.reconnects:
            self._metrics.reconnects.inc()
            log.info("connected again to %s", self._connection.broker)
            self._publish_status()
        else:
            # By its PUBACK the broker has read the SUBSCRIBE before it: from then on no frame finds nobody.
            self._connection.publish(self._presence.publication(on_puback=self._first_status_taken))
        self._pacing.connected(may_step_aside=self._connection.traits.lets_members_rejoin)

    def _first_status_taken(self, reason_code: int) -> None:
        if reason_code == NOT_AUTHORIZED:
            raise ConnectionRefused(
                f"{self._connection.broker} refuses {self._presence.topic} (0x87): its ACL must let this "
                "user write there. Is it a worker's, and this worker's?"
            )
        subscriptions = ", ".join(self._settings.subscriptions)
        log.info("connected to %s, reading %s", self._connection.broker, subscriptions)

    def _lost(self) -> None:
        self._unacked.lost()
        self._peers.forget()
        self._life.online = False
        self._metrics.connected.set(0)
        lived = self._lived()
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 0
        self._is_disputed = self._is_hung_up_on() or (self._is_disputed and lived < UNDISPUTED)
        if self._is_hung_up_on():
            # rumqttd does not even hand the other's status over: all there is to see is this.
            log.warning(
                "the connection was lost %d times soon after it was made: does another worker run as %r? "
                "Give each its own --worker-id",
                self._short_lives,
                self._worker_id,
            )

    def _lived(self) -> float:
        return time.monotonic() - self._connected_at

    def _is_hung_up_on(self) -> bool:
        """Whether the connection is lost again and again, as if another worker took the session over."""
        return self._short_lives >= SHORT_LIVES

    def _deliver(self, delivery: Delivery) -> None:
        is_own_status = delivery.topic == self._presence.topic
        if is_own_status and not delivery.retain and self._is_new and self._echoed_at is None:
            self._echoed_at = time.monotonic()  # it comes after what was retained when this worker subscribed
        drain = self._leaving.drain
        if drain and is_own_status:
            drain.hear_marker(delivery.payload)
        elif drain and self._settings.camera_of(delivery.topic):
            drain.hear_frame()
        self._reception.receive(delivery, self._unacked)

    def _ack(self, delivery: Delivery) -> bool:
        return self._connection.ack(delivery)

    # --- in the network thread: the others --------------------------------------------------------------

    def _tick(self) -> None:
        self._pipeline.clocks.note()
        if not self._life.online:  # they would pile up
            return
        self._publish_status()
        for publication in self._presence.taken_back():
            self._connection.publish(publication)
        self._pipeline.outbox.retry()
        if self._adoption is not None and self._adoption.absent:
            self._peers.dismiss(self._adoption.worker)
        if not self._is_adopting() and self._presence.state == "online":
            self._adopt()

    def _adopt(self) -> None:
        self._adoption = None
        dead = self._peers.orphan()
        if dead is None:
            return
        self._adoption = Adoption(
            self._connection.broker,
            dead,
            self._settings,
            self._metrics,
            by=self._worker_id,
            stop=self._life.leaving,
            call=self._connection.call,
            receive=self._reception.receive,
        )
        self._adoption.start()

    def _is_adopting(self) -> bool:
        return self._adoption is not None and not self._adoption.ended

    def _in_hand(self) -> int:
        adoption = self._adoption  # the network thread may replace it meanwhile
        return len(self._unacked) + (len(adoption.unacked) if adoption else 0)

    def _publish_status(self, then: Callable[[], None] = lambda: None) -> None:
        self._connection.publish(self._presence.publication(on_puback=lambda code: then()))

    def _step_aside(self) -> None:
        self._metrics.asides.inc()
        self._connection.unsubscribe(self._settings.subscriptions)

    def _step_in(self) -> None:
        self._connection.subscribe(self._settings.subscriptions)

    def _check_commands(self) -> None:
        if self._echoed_at is not None and time.monotonic() - self._echoed_at > ALL_HEARD_AFTER:
            self._commands.all_heard()

    # --- in the thread that follows commands -----------------------------------------------------------

    def _report_change(self) -> None:
        change = self._commands.change
        if change is None or change.state != "loading":
            self._metrics.changes.labels(change.state if change else "serving").inc()
        self._show_model()
        self._connection.call(self._publish_status)

    # --- metrics ----------------------------------------------------------------------------------------

    def _show(self) -> None:
        self._metrics.in_hand.set_function(self._in_hand)
        self._metrics.skew.set_function(self._pipeline.clocks.widest)
        self._metrics.adopting.set_function(lambda: float(self._is_adopting()))
        self._metrics.aside.set_function(lambda: float(self._pacing.aside))
        self._metrics.mismatch.set_function(lambda: float(self._commands.failed))
        self._metrics.certificate_ends = self._connection.broker.credentials.ends
        self._show_model()

    def _show_model(self) -> None:
        model, engine = self._switch.serving.model, self._switch.serving.engine
        self._metrics.show_model(
            model=model.name,
            weights=model.weights,
            engine=engine.name,
            engine_why=engine.why,
            device=engine.device,
        )
