"""A worker's life: startup, serve, drain; and on the way, one frame's path.

network thread        decoder processes    engine thread          network thread
Reception ──────────> DecoderPool ───────> Inference ───────────> Answers ── PUBACK ──> Inbox.settle
(Inbox.admit)         bytes -> pixels      Batcher -> Engine      Outbox                (ack, in order)
         └─ Serving: the model's own decoders and engine; Control swaps it between two frames
"""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import threading
import time
from typing import Callable, Dict, Optional, Union

import wire
from wire.broker import Broker
from wire.errors import ConnectionRefused
from wire.messages import WorkerStatus
from wire.model_choice import ModelChoice
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.mqtt.pubacks import NOT_AUTHORIZED
from wire.private import keep_memory_private
from wire.signals import stop_signals
from wire.topics import client_id
from worker.answers import Answers
from worker.decode.pool import Pixels
from worker.delivery.clocks import Clocks
from worker.delivery.crash_journal import Attempts
from worker.delivery.outbox import Outbox
from worker.delivery.scheduler import Admission
from worker.delivery.unacked import Inbox
from worker.engines.select import best_batch
from worker.errors import FrameError
from worker.frame import Frame
from worker.membership.adoption import Adoption
from worker.membership.identity import claim_worker_id
from worker.membership.leave import Leaving
from worker.membership.status import Presence
from worker.membership.step_aside import Pacing
from worker.metrics import Metrics
from worker.metrics_server import serve_metrics
from worker.reception import Reception
from worker.serving.commands import Control
from worker.serving.first_command import read_commands
from worker.serving.inference import Inference
from worker.serving.loaded import Serving, Work, open_serving
from worker.serving.switch import Lineup
from worker.settings import WorkerSettings
from worker.watchdog import Stalled, Watchdog, do_alive, notify

log = logging.getLogger(__name__)

#: Files that a worker may have open at once, where the machine lets it.
MOST_OPEN_FILES = 65_536
#: Also for a worker in a shell's background, which has it ignore Ctrl-C.
HEEDED = (signal.SIGTERM, signal.SIGINT)
#: Seconds between two looks at whether to stop.
_STEP = 0.1
#: Seconds that the broker waits before it calls a vanished worker lost.
WILL_DELAY = 5
#: Seconds to wait for a broker at the start; a model is then loaded without knowing what is commanded.
BROKER_PATIENCE = 5.0
#: A connection that is lost within so many seconds, so many times, has another reason than the network.
SHORT_LIFE, SHORT_LIVES = 5.0, 3
#: Seconds after its own first status until a new session has heard what is retained, on brokers that keep no
#: order between subscriptions.
ALL_HEARD_AFTER = 1.0


def run(settings: WorkerSettings) -> int:
    """Startup, serve, drain.

    Returns:
        The exit code: 0 if every frame in hand was answered before leaving, else 1.

    Raises:
        NanofleetError: the worker cannot start, or cannot go on.
    """
    keep_memory_private()
    _allow_open_files()
    broker = settings.open_broker()
    if not settings.max_batch:
        suits = best_batch(settings.choice, settings.engine, settings.device)
        settings = settings.model_copy(update={"max_batch": suits})
    with claim_worker_id(settings.state_dir, settings.worker_id) as worker_id:
        stop = threading.Event()
        worker = Worker(settings, worker_id, stop)
        with worker.metrics_server() as metrics_url:
            if metrics_url:
                log.info("metrics on %s", metrics_url)
            worker.presence.metrics_url = metrics_url
            with stop_signals(stop, always=HEEDED):
                commands = worker.read_commands(broker, BROKER_PATIENCE)
            if stop.is_set():
                return 0
            # Until the model is loaded a signal ends the process on the spot: it has no frame in hand.
            choices = worker.control.first_choices(commands)
            log.info("worker %s: loading %s", worker_id, choices[0].model)
            with worker.lineup.opened(*choices), stop_signals(stop, always=HEEDED), worker.engine_threads():
                if commands is None:
                    worker.await_commands(broker)
                if stop.is_set():
                    notify("STOPPING=1")
                    log.info("left with nothing in hand")
                    return 0
                connection = worker.connect_to(broker)
                outbox = contextlib.closing(worker.answers.outbox)
                with worker.admission, worker.control.following(), outbox, connection:
                    return worker.serve_and_leave()


def _allow_open_files() -> None:
    """Each decoder costs some, and each connection to the metrics one; the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stopped_within(seconds: float, stop: threading.Event) -> bool:
    """Wait, but not by `stop.wait`: before Python 3.11 a clock that is set back makes it wait for as long."""
    until = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < until:
        time.sleep(min(_STEP, seconds))
    return stop.is_set()


class Worker:
    """The parts of a worker, and what flows between them."""

    def __init__(self, settings: WorkerSettings, worker_id: str, stop: threading.Event) -> None:
        self.settings = settings
        self.worker_id = worker_id
        self.topics = settings.topics
        self.subscriptions = [f"$share/{settings.group}/{t.filter}" for t in settings.templates]
        self.admission = Admission(
            Attempts(settings.state_dir / f"{worker_id}.attempts", 4 * settings.window),
            at_work=settings.at_work,
            window=settings.window,
            folder=settings.state_dir / f"{worker_id}.waiting",
            work=self._work,
        )
        self.lineup = Lineup(self._load, call=self._call, stop=stop)
        commands = [self.topics.model_command(worker_id), self.topics.model_command()]
        self.control = Control(
            [] if settings.ignore_control else commands,
            settings.choice,
            settings.weights_dir,
            settings.state_dir / f"{worker_id}.model",
            change_to=self.lineup.change_to,
            report=self._report_change,
        )
        self._inbox = Inbox(self._ack, settings.window)
        self.clocks = Clocks(settings.state_dir / f"{worker_id}.clocks", settings.session_expiry)
        self._adoption: Optional[Adoption] = None
        self._next_status = 0.0
        self._stop = stop
        self._failure: Optional[BaseException] = None
        self._online = False
        self._connected_at = 0.0
        #: When a session that began with this worker has heard its own status; None before.
        self._echoed_at: Optional[float] = None
        self._session_is_new = False
        self._short_lives = 0
        self.metrics = Metrics(in_hand=self._in_hand)
        self.metrics.worker.info(
            {"worker": worker_id, "group": settings.group, "root": settings.root, "version": wire.__version__}
        )
        self.metrics.skew.set_function(self.clocks.widest)
        self.metrics.adopting.set_function(lambda: float(self._is_adopting()))
        self.metrics.aside.set_function(lambda: float(self.pacing.aside))
        self.metrics.mismatch.set_function(lambda: float(self.control.failed))
        self.presence = Presence(
            settings, worker_id, self.lineup, self.control, self._in_hand, lambda: self.pacing.report()
        )
        self.pacing = Pacing(
            self.presence.peers,
            settings.step_aside_after,
            publish_status=self._publish_status,
            step_aside=self._step_aside,
            step_in=lambda: self.connection.subscribe(self.subscriptions),
        )
        self.answers = Answers(
            worker_id,
            admission=self.admission,
            pacing=self.pacing,
            presence=self.presence,
            metrics=self.metrics,
            call=self._call,
        )
        self.reception = Reception(
            settings,
            admission=self.admission,
            presence=self.presence,
            control=self.control,
            pacing=self.pacing,
            metrics=self.metrics,
            reject=self.answers.reject,
        )
        self.inference = Inference(
            settings,
            worker_id,
            self.metrics,
            more_to_come=self._more_to_come,
            on_results=self.answers.classified,
            on_reject=self.answers.failed,
            on_failure=self._fail,
        )

    # --- startup ------------------------------------------------------------------------------------

    def _load(self, choice: ModelChoice) -> Serving:
        return open_serving(choice, self.settings, self._stop, on_done=self._decoded, on_failure=self._fail)

    def read_commands(
        self, broker: Broker, patience: float, alive: Callable[[], object] = lambda: None
    ) -> Optional[Dict[str, bytes]]:
        """The retained model commands; None if there is no broker in time."""
        if not self.control.topics:
            return {}
        return read_commands(broker, self.control.topics, patience=patience, stop=self._stop, alive=alive)

    def await_commands(self, broker: Broker) -> None:
        """Wait for a broker, and serve what it commands before there is a frame to answer."""
        notify("READY=1")
        commands = self.read_commands(broker, float("inf"), alive=lambda: notify("WATCHDOG=1"))
        if commands is None:  # told to stop
            return
        choices = self.control.first_choices(commands)
        if self.lineup.serving.is_of(choices[0]):
            return
        do_alive(lambda: self.lineup.replace(*choices), self._stop)

    def connect_to(self, broker: Broker) -> Connection:
        """The connection, not yet entered. Its session outlives this process, and so do its frames."""
        self._show_model()
        self.metrics.certificate_ends = broker.credentials.ends
        own = [*self.subscriptions, self.presence.topic, *self.control.topics]
        self.connection = Connection(
            broker,
            client_id(self.worker_id),
            on_delivery=self._hear,
            on_connected=self._connected,
            on_lost=self._lost,
            on_failure=self._fail,
            # The others' statuses at QoS 0: at 1 they would fill the queue of a worker that is away.
            subscriptions={**dict.fromkeys(own, 1), **dict.fromkeys(self.presence.everybodys, 0)},
            will=self.presence.publication("lost"),
            will_delay=WILL_DELAY,
            session_expiry=self.settings.session_expiry,
            receive_maximum=self.settings.window,
            # It may be an adopter that heard nothing of this worker. A twin shows by its status (Presence).
            gives_way=False,
        )
        self._leaving = Leaving(
            self.settings, self.connection, self.subscriptions, self._inbox, self.presence, self.pacing
        )
        self._watchdog = Watchdog(self.settings.stall_timeout, self._call)
        self._watchdog.watch("engine", self.inference.waiting)
        self._watchdog.watch("decoders or the engine", self.lineup.waiting)
        self.answers.outbox = Outbox(
            self.connection,
            self.topics,
            self.worker_id,
            on_published=self.answers.published,
            on_failure=self._fail,
        )
        return self.connection

    def engine_threads(self) -> contextlib.AbstractContextManager[None]:
        """Run the engine while the block lasts."""
        return self.inference.running(self.lineup.serving.engine.at_once)

    def _call(self, function: Callable[[], None]) -> None:
        self.connection.call(function)

    def metrics_server(self) -> contextlib.AbstractContextManager[str]:
        """Serve the metrics while the block lasts."""
        return serve_metrics(
            self.metrics,
            self.settings.metrics_host,
            self.settings.metrics_port,
            or_next="metrics_port" not in self.settings.model_fields_set,
            healthy=lambda: self._failure is None,
            ready=lambda: self._online and not self._stop.is_set(),
        )

    # --- serve --------------------------------------------------------------------------------------

    def serve_and_leave(self) -> int:
        """Serve until told to leave, then leave; at once when told a second time. Returns the exit code.

        Raises:
            KeyboardInterrupt: it was told a second time.
            BaseException: whatever ended a thread.
        """
        try:
            self.serve()
            return self.drain()
        except KeyboardInterrupt:
            self._leaving.leave_session()
            raise

    def serve(self) -> None:
        """Serve, and wait for the broker where there is none yet, until a signal or a failure.

        Raises:
            BaseException: whatever ended a thread.
        """
        self._next_status = time.monotonic() + self.settings.status_interval
        notify("READY=1")
        while not _stopped_within(min(1.0, self.settings.status_interval), self._stop):
            self._look_after_parts()
            self.connection.call(self.pacing.check)
            self.connection.call(self._check_commands)
        self._raise_failure()

    def _check_commands(self) -> None:
        if self._echoed_at is not None and time.monotonic() - self._echoed_at > ALL_HEARD_AFTER:
            self.control.all_heard()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _look_after_parts(self) -> None:
        self._raise_failure()
        try:
            self._watchdog.check()
        except Stalled as error:
            self._fail(error)
            raise
        if time.monotonic() >= self._next_status:  # or the others would take it for dead
            self.connection.call(self._tick)
            self._next_status += self.settings.status_interval

    def _fail(self, failure: BaseException) -> None:
        """A thread has ended: let the main thread raise what ended it."""
        self._failure = self._failure or failure
        self._stop.set()

    def _tick(self) -> None:
        self.clocks.note()
        if not self._online:  # they would pile up
            return
        self._publish_status()
        for publication in self.presence.taken_back():
            self.connection.publish(publication)
        self.answers.outbox.retry()
        if self._adoption is not None and self._adoption.absent:
            self.presence.peers.dismiss(self._adoption.worker)
        if not self._is_adopting() and self.presence.state == "online":
            orphan = self.presence.peers.orphan()
            self._adoption = self._adopt(orphan) if orphan else None

    def _is_adopting(self) -> bool:
        return self._adoption is not None and not self._adoption.ended

    def _adopt(self, dead: WorkerStatus) -> Adoption:
        adoption = Adoption(
            self.connection.broker,
            dead,
            by=self.worker_id,
            topics=self.topics,
            subscriptions=self.subscriptions,
            window=self.settings.window,
            session_expiry=self.settings.session_expiry,
            claim_interval=self.settings.status_interval,
            stop=self._stop,
            call=self._call,
            receive=self.reception.receive,
            is_frame=lambda topic: self.reception.camera(topic) is not None,
            metrics=self.metrics,
        )
        adoption.start()
        return adoption

    def _in_hand(self) -> int:
        return len(self._inbox) + (len(self._adoption.inbox) if self._adoption else 0)

    def _hear(self, delivery: Delivery) -> None:
        if self._session_is_new and self._echoed_at is None and self._is_echo(delivery):
            self._echoed_at = time.monotonic()
        drain = self._leaving.drain
        if drain and delivery.topic == self.topics.worker(self.worker_id):
            drain.hear_marker(delivery.payload)
        elif drain and self.reception.camera(delivery.topic):
            drain.hear_frame()
        self.reception.receive(delivery, self._inbox)

    def _is_echo(self, delivery: Delivery) -> bool:
        """Whether it is this worker's own status, which comes after what was retained when it subscribed."""
        return delivery.topic == self.presence.topic and not delivery.retain

    def _work(self, frame: Frame) -> None:
        try:
            frame.unwrap(self.settings.max_payload)
            self._tell_of_dropped(frame)
            self.clocks.judge(frame)
            frame.check_age(self.settings.max_age_of(frame.camera))
        except FrameError as error:
            self.answers.reject(frame, error)
        else:
            self.lineup.submit(frame)

    def _tell_of_dropped(self, frame: Frame) -> None:
        for field in frame.dropped:
            self.metrics.dropped.labels(field).inc()
        if frame.dropped:
            log.warning(
                "a frame of %s goes on without part of its metadata: %s",
                frame.camera,
                "; ".join(frame.notes),
            )

    def _more_to_come(self) -> bool:
        """On a CPU, which decoders and engine share, a full batch a moment later is the better use of it."""
        serving = self.lineup.serving
        return serving.engine.device == "cpu" and serving.decoders.backlog > 0

    def _decoded(self, work: Work, outcome: Union[Pixels, FrameError]) -> None:
        """In a thread of the decoder pool."""
        if isinstance(work.job, Frame):
            work.job.image = b""
        if isinstance(outcome, FrameError):
            self.answers.failed(work, outcome)
        else:
            self.inference.put(work, outcome)

    def _ack(self, delivery: Delivery) -> bool:
        return self.connection.ack(delivery)

    def _connected(self, session_present: bool) -> None:
        self._inbox.connected(session_present)
        # One that was kept is told of what was taken back while this worker was away.
        self._session_is_new = not session_present
        self._connected_at = time.monotonic()
        self._online = True
        self.metrics.connected.set(1)
        self.answers.outbox.connected()
        self.connection.publish(self.presence.beacon())
        if self.connection.reconnects:
            self.metrics.reconnects.inc()
            log.info("connected again to %s", self.connection.broker)
            self._publish_status()
        else:
            # By its PUBACK the broker has read the SUBSCRIBE before it: from then on no frame finds nobody.
            self.connection.publish(self.presence.publication(on_puback=self._first_status_taken))
        # rumqttd stalls a shared group that a member has left and joined again.
        self.pacing.connected(may_step_aside=self.connection.names_receive_maximum)

    def _first_status_taken(self, reason_code: int) -> None:
        if reason_code == NOT_AUTHORIZED:
            raise ConnectionRefused(
                f"{self.connection.broker} refuses {self.presence.topic} (0x87): its ACL must let this user "
                "write there. Is it a worker's, and this worker's?"
            )
        log.info("connected to %s, reading %s", self.connection.broker, ", ".join(self.subscriptions))

    def _lost(self) -> None:
        self._inbox.lost()
        self.presence.peers.forget()
        self._online = False
        self.metrics.connected.set(0)
        lived = time.monotonic() - self._connected_at
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 0
        if self._is_hung_up_on():
            # rumqttd does not even hand the other's status over: all there is to see is this.
            log.warning(
                "the connection was lost %d times soon after it was made: does another worker run as %r? "
                "Give each its own --worker-id",
                self._short_lives,
                self.worker_id,
            )

    def _step_aside(self) -> None:
        self.metrics.asides.inc()
        self.connection.unsubscribe(self.subscriptions)

    def _publish_status(self, then: Callable[[], None] = lambda: None) -> None:
        self.connection.publish(self.presence.publication(on_puback=lambda code: then()))

    def _report_change(self) -> None:
        change = self.control.change
        if change is None or change.state != "loading":
            self.metrics.changes.labels(change.state if change else "serving").inc()
        self._show_model()
        self.connection.call(self._publish_status)

    def _show_model(self) -> None:
        model, engine = self.lineup.serving.model, self.lineup.serving.engine
        self.metrics.device = engine.device
        self.metrics.model.info(
            {
                "model": model.name,
                "weights": model.weights,
                "engine": engine.name,
                "engine_why": engine.why,
                "device": engine.device,
                "version": wire.__version__,
            }
        )

    # --- drain --------------------------------------------------------------------------------------

    def drain(self) -> int:
        """Take nothing new, answer what is in hand and what the broker still hands over, leave for good.

        Returns:
            The exit code, as `worker.membership.leave` says.
        """
        self._short_lives = 0  # a network that was bad before may be good for long enough now
        if self._adoption is not None:
            self._adoption.join()  # its session stays, for another to adopt
        return self._leaving.leave(self._look_after_parts, self._is_hung_up_on)

    def _is_hung_up_on(self) -> bool:
        """Whether the connection is lost again and again, as if another worker took the session over."""
        return self._short_lives >= SHORT_LIVES
