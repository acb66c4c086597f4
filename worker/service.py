"""A worker's life: startup, serve, drain; and on the way, one frame's path.

network thread        decoder processes    engine thread          network thread
_receive ───────────> DecoderPool ───────> _infer ──────────────> _answer ── PUBACK ──> Inbox.settle
(Inbox.admit)         bytes -> pixels      Batcher -> Engine      publish               (ack, in order)
         └─ Serving: the model's own decoders and engine; Control swaps it between two frames
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from typing import Callable, Iterator, List, Optional, Tuple, Union

import numpy as np

import wire
from wire.broker import Broker
from wire.choice import ModelChoice
from wire.connection import PACKET_TOO_LARGE, Connection, Delivery, Publication
from wire.errors import ConnectionRefused, DecodeError, DuplicateMember
from wire.messages import Candidate, Change, Rejection, Result, WorkerStatus, utc_now
from wire.topics import is_id
from worker.batcher import Batcher
from worker.control import Control
from worker.decoder import DecoderPool, Pixels
from worker.engine import open_model, top_k
from worker.errors import FrameError
from worker.frame import Frame
from worker.identity import claim_worker_id
from worker.inbox import Inbox
from worker.lineup import Lineup
from worker.metrics import Metrics, serve_metrics
from worker.model import Model
from worker.serving import Job, Serving, Shadow, Work
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: A broker that has nothing left to hand over is silent for this long, in seconds.
QUIET = 0.5
#: A connection that is lost within so many seconds, time and again, has another reason than the network.
SHORT_LIFE = 5.0
PUBLISHED = {0x00, 0x10}  # success, and success without a subscriber: nobody listens just now
#: What the broker will say on every other try, too.
FINAL = {
    0x87: "its ACL does not let this worker write there",
    PACKET_TOO_LARGE: "the answer is larger than the packets it takes; lower --top-k",
}


def run(settings: WorkerSettings) -> int:
    """Startup, serve, drain.

    Returns:
        The exit code: 0 if every frame in hand was answered before leaving, else 1.

    Raises:
        NanofleetError: the worker cannot start, or cannot go on.
    """
    broker = settings.open_broker()
    with claim_worker_id(settings.state_dir, settings.worker_id) as worker_id:
        log.info("worker %s: loading %s", worker_id, settings.model)
        stop = threading.Event()
        worker = Worker(settings, worker_id, stop)
        # Until the model is loaded a signal ends the process on the spot: it has no frame in hand.
        with worker.lineup.opened(settings.choice), _stop_signals(stop), worker.engine_thread():
            connection = worker.connect_to(broker)
            with worker.control.following(), worker.metrics_server() as metrics_url, connection:
                if metrics_url:
                    log.info("metrics on %s", metrics_url)
                if connection.wait_connected(stop):
                    log.info("connected to %s, reading %s", broker, ", ".join(worker.subscriptions))
                worker.serve()
                return worker.drain()


@contextlib.contextmanager
def _stop_signals(stop: threading.Event) -> Iterator[None]:
    """The first SIGTERM or Ctrl-C sets an event; the second raises KeyboardInterrupt."""

    def handle(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = [(s, signal.signal(s, handle)) for s in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)


class Worker:
    """The parts of a worker, and what flows between them."""

    def __init__(self, settings: WorkerSettings, worker_id: str, stop: threading.Event) -> None:
        self.settings = settings
        self.worker_id = worker_id
        self.topics = settings.topics
        self.subscriptions = [f"$share/{settings.group}/{t.filter}" for t in settings.templates]
        self.lineup = Lineup(self._load, call=self._call, stop=stop)
        commands = [self.topics.model_command(worker_id), self.topics.model_command()]
        self.control = Control(
            [] if settings.ignore_control else commands,
            settings.choice,
            settings.weights_dir,
            change_to=self.lineup.change_to,
            report=self._report_change,
        )
        self._templates = settings.templates
        self._batcher: Batcher[Tuple[Work, Pixels]] = Batcher(settings.max_batch, settings.max_delay)
        self._inbox = Inbox(self._ack)
        self._stop = stop
        self._failure: Optional[BaseException] = None
        self._refused: List[Tuple[Frame, Union[Result, Rejection]]] = []
        self._started_at = utc_now()
        self._state = "online"
        self._answered = 0
        self._last_delivery = 0.0
        self._connected_at = 0.0
        self._short_lives = 0
        self._last_status = (time.monotonic(), 0)
        self.metrics = Metrics(in_hand=lambda: len(self._inbox))

    # --- startup ------------------------------------------------------------------------------------

    def _load(self, choice: ModelChoice) -> Serving:
        """A model with its engine, warm, and its decoders, not yet started."""
        settings = self.settings
        model, engine = open_model(
            choice,
            engine=settings.engine,
            device=settings.device,
            max_batch=settings.max_batch,
            weights_dir=settings.weights_dir,
            stop=self._stop,
        )
        engine.warm_up()
        log.info(
            "%s (%s), %d classes, by %s on %s: %s",
            model.name,
            model.weights,
            len(model.classes),
            engine.name,
            engine.device,
            engine.why,
        )
        decoders: DecoderPool[Work] = DecoderPool(
            model.preprocessing,
            processes=settings.decoder_count,
            slots=settings.window,
            timeout=settings.decoder_timeout,
            max_pixels=settings.max_pixels,
            exact=settings.decode == "exact",
            on_done=self._decoded,
            on_failure=self._fail,
        )
        return Serving(choice, model, engine, decoders)

    def connect_to(self, broker: Broker) -> Connection:
        """The connection, not yet entered. Its session outlives this process, and so do its frames."""
        self._show_model()
        self.connection = Connection(
            broker,
            f"nanofleet-worker-{self.worker_id}",
            on_delivery=self._receive,
            on_connected=self._connected,
            on_lost=self._lost,
            on_failure=self._fail,
            subscriptions=[*self.subscriptions, self.topics.worker(self.worker_id), *self.control.topics],
            will=self._status_publication("lost"),
            session_expiry=self.settings.session_expiry,
            receive_maximum=self.settings.window,
        )
        return self.connection

    @contextlib.contextmanager
    def engine_thread(self) -> Iterator[None]:
        """Run the engine in a thread of its own while the block lasts."""
        thread = threading.Thread(target=self._infer_until_closed, name="engine", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._batcher.close()
            thread.join(timeout=5)

    def _call(self, function: Callable[[], None]) -> None:
        self.connection.call(function)

    def metrics_server(self) -> contextlib.AbstractContextManager[Optional[str]]:
        """Serve the metrics while the block lasts."""
        return serve_metrics(
            self.metrics,
            self.settings.metrics_host,
            self.settings.metrics_port,
            healthy=lambda: self._failure is None,
            ready=lambda: self.connection.connected.is_set() and not self._stop.is_set(),
        )

    # --- serve --------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Announce the worker now and then, until a signal or a failure.

        Raises:
            BaseException: whatever ended a thread.
        """
        while not self._stop.wait(self.settings.status_interval):
            self.connection.call(self._publish_status)
            self.connection.call(self._retry_refused)
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: BaseException) -> None:
        """A thread has ended: let the main thread raise what ended it."""
        self._failure = self._failure or failure
        self._stop.set()

    def _receive(self, delivery: Delivery) -> None:
        self._last_delivery = time.monotonic()
        camera = self._camera(delivery.topic)
        frame = Frame.receive(delivery, camera or "")
        if not self._inbox.admit(frame):
            return
        if camera is None:
            self._inbox.settle(frame)  # its ack, too, has to wait for those before it
            self._receive_other(delivery)
            return
        try:
            frame.unwrap(self.settings.max_payload)
            frame.check_age(self.settings.max_age)
        except FrameError as error:
            self._reject(frame, error)
        else:
            self.lineup.submit(frame)

    def _camera(self, topic: str) -> Optional[str]:
        matches = (template.match(topic) for template in self._templates)
        cameras = [match["camera"] for match in matches if match]
        return cameras[0] if cameras and is_id(cameras[0]) else None

    def _receive_other(self, delivery: Delivery) -> None:
        if delivery.topic == self.topics.worker(self.worker_id):
            self._look_for_twin(delivery)
        elif delivery.topic in self.control.topics:
            self.control.receive(delivery.topic, delivery.payload)
        else:
            self.metrics.ignored.inc()
            log.warning("ignored a frame on %r: that is no camera id ([A-Za-z0-9_-]{1,64})", delivery.topic)

    def _look_for_twin(self, delivery: Delivery) -> None:
        """A status under this worker's id by another process: the one that started later stays.

        Two processes with one id take each other's session over, again and again. Mosquitto 2.0 does not
        tell the one that loses it, but when it comes back it finds the other's status. What it finds on
        its first connection is only what an earlier life of its own has left.
        """
        try:
            status = WorkerStatus.decode(delivery.payload)
        except DecodeError as error:
            log.warning("%s: %s", delivery.topic, error)
            return
        ours = status.started_at == self._started_at
        if ours or status.state != "online" or (delivery.retain and not self.connection.reconnects):
            return
        if status.started_at > self._started_at:
            raise DuplicateMember(
                f"another worker started as {self.worker_id!r} at {status.started_at:%H:%M:%S}; this one, "
                f"started at {self._started_at:%H:%M:%S}, leaves. Give each its own --worker-id"
            )
        log.warning("another worker called %r was running; the older one leaves", self.worker_id)

    def _decoded(self, work: Work, outcome: Union[Pixels, FrameError]) -> None:
        """In a thread of the decoder pool."""
        if isinstance(work.job, Frame):
            work.job.image = b""
        if isinstance(outcome, FrameError):
            self._reject_work(work, outcome)
        else:
            self._batcher.put((work, outcome))

    def _reject_work(self, work: Work, error: FrameError) -> None:
        work.serving.done()
        job = work.job
        if isinstance(job, Shadow):
            job.comparison.drop()
            return
        if job.shadow is not None:
            job.shadow.comparison.drop()
        self.connection.call(lambda: self._reject(job, error))

    def _infer_until_closed(self) -> None:
        try:
            while True:
                batch = self._batcher.take()
                if not batch:
                    return
                self._infer(batch)
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            self._fail(error)

    def _infer(self, batch: List[Tuple[Work, Pixels]]) -> None:
        fresh = []
        for work, pixels in batch:
            try:
                if isinstance(work.job, Frame):
                    work.job.check_age(self.settings.max_age)
                fresh.append((work, pixels))
            except FrameError as error:
                pixels.release()
                self._reject_work(work, error)
        # While a model is changed, frames for the old one and frames for the new one come mixed.
        for serving in {work.serving: None for work, _ in fresh}:
            self._infer_by(serving, [(work.job, pixels) for work, pixels in fresh if work.serving is serving])

    def _infer_by(self, serving: Serving, batch: List[Tuple[Job, Pixels]]) -> None:
        began = time.perf_counter()
        images = np.stack([pixels.array for _, pixels in batch])
        for _, pixels in batch:
            pixels.release()
        probabilities = serving.engine.infer(images)
        inference = time.perf_counter() - began
        self.metrics.batch.observe(len(batch))
        for (job, pixels), row in zip(batch, probabilities):
            serving.done()
            best = serving.model.classes[int(row.argmax())]
            if isinstance(job, Shadow):
                job.hear(best)
                continue
            if job.shadow is not None:
                job.shadow.hear(best)
            frame = job
            queued = began - frame.received - pixels.decode_ms / 1000
            for stage, seconds in (
                ("queue", queued),
                ("decode", pixels.decode_ms / 1000),
                ("inference", inference),
            ):
                self.metrics.stage.labels(stage).observe(seconds)
            result = self._result(frame, serving.model, pixels, row, queued, inference, len(batch))
            self.connection.call(lambda frame=frame, result=result: self._answer(frame, result))  # type: ignore[misc]

    def _result(
        self,
        frame: Frame,
        model: Model,
        pixels: Pixels,
        probabilities: np.ndarray,
        queued: float,
        inference: float,
        batch_size: int,
    ) -> Result:
        top = tuple(
            Candidate(label=model.classes[index], index=index, confidence=confidence)
            for index, confidence in top_k(probabilities, self.settings.top_k)
        )
        return Result(
            frame_id=frame.frame_id,
            camera=frame.camera,
            worker=self.worker_id,
            model=model.name,
            weights=model.weights,
            label=top[0].label,
            index=top[0].index,
            confidence=top[0].confidence,
            top=top,
            width=pixels.width,
            height=pixels.height,
            captured_at=frame.captured_at,
            received_at=frame.received_at,
            answered_at=utc_now(),
            timings_ms={
                "queue": round(queued * 1000, 3),
                "decode": round(pixels.decode_ms, 3),
                "inference": round(inference * 1000, 3),
                "total": round((time.perf_counter() - frame.received) * 1000, 3),
            },
            batch_size=batch_size,
        )

    def _reject(self, frame: Frame, error: FrameError) -> None:
        rejection = Rejection(
            frame_id=frame.frame_id,
            camera=frame.camera,
            worker=self.worker_id,
            reason=error.reason,
            detail=str(error),
            received_at=frame.received_at,
        )
        self._answer(frame, rejection)

    def _answer(self, frame: Frame, answer: Union[Result, Rejection]) -> None:
        """Publish an answer; its PUBACK settles the frame."""
        published = time.perf_counter()
        of = self.topics.results if isinstance(answer, Result) else self.topics.rejects
        topic = of(frame.camera)

        def settle(reason_code: int) -> None:
            if reason_code in FINAL:
                raise ConnectionRefused(
                    f"{self.connection.broker} refuses {topic}: {FINAL[reason_code]}; without its answer the "
                    "frame cannot be acked, and stays with the broker"
                )
            if reason_code not in PUBLISHED:
                log.error("%s: the broker refused an answer (0x%02x), trying again", topic, reason_code)
                self._refused.append((frame, answer))
                return
            self._count(frame, answer, time.perf_counter() - published)
            self._inbox.settle(frame)

        payload = answer.encode()
        reply_to = frame.delivery.response_topic
        if reply_to is not None and self.topics.is_reply(reply_to):
            # Before the other: when that one's PUBACK settles the frame, this one is out as well.
            correlation = frame.delivery.correlation_data
            self.connection.publish(Publication(reply_to, payload, correlation_data=correlation))
        self.connection.publish(Publication(topic, payload, on_puback=settle))

    def _retry_refused(self) -> None:
        refused, self._refused = self._refused, []
        for frame, answer in refused:
            self._answer(frame, answer)

    def _count(self, frame: Frame, answer: Union[Result, Rejection], publishing: float) -> None:
        self._answered += 1
        if isinstance(answer, Rejection):
            self.metrics.frames.labels("rejected", answer.reason.value).inc()
        else:
            self.metrics.frames.labels("answered", "").inc()
        self.metrics.stage.labels("publish").observe(publishing)
        self.metrics.stage.labels("total").observe(time.perf_counter() - frame.received)
        if frame.captured_at is not None:
            self.metrics.age.observe(max(0.0, frame.age()))

    def _ack(self, delivery: Delivery) -> bool:
        return self.connection.ack(delivery)

    def _connected(self, session_present: bool) -> None:
        self._inbox.connected(session_present)
        self._connected_at = time.monotonic()
        self.metrics.connected.set(1)
        if self.connection.reconnects:
            self.metrics.reconnects.inc()
            log.info("connected again to %s", self.connection.broker)
        self._publish_status()

    def _lost(self) -> None:
        self._inbox.lost()
        self.metrics.connected.set(0)
        lived = time.monotonic() - self._connected_at
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 0
        if self._short_lives >= 3:
            # rumqttd does not even hand the other's status over: all there is to see is this.
            log.warning(
                "the connection was lost %d times soon after it was made: does another worker run as %r? "
                "Give each its own --worker-id",
                self._short_lives,
                self.worker_id,
            )

    def _report_change(self) -> None:
        change = self.control.change
        if change is None or change.state != "loading":
            self.metrics.changes.labels(change.state if change else "serving").inc()
        self._show_model()
        self.connection.call(self._publish_status)

    def _show_model(self) -> None:
        model, engine = self.lineup.serving.model, self.lineup.serving.engine
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

    def _publish_status(self) -> None:
        self.connection.publish(self._status_publication(self._state))

    def _status_publication(self, state: str) -> Publication:
        now, answered = time.monotonic(), self._answered
        then, before = self._last_status
        # Two statuses at almost the same time say nothing about the rate.
        rate = (answered - before) / (now - then) if now - then > 1 else 0.0
        self._last_status = (now, answered)
        model, engine = self.lineup.serving.model, self.lineup.serving.engine
        status = WorkerStatus(
            worker=self.worker_id,
            state=state,
            model=model.name,
            weights=model.weights,
            engine=engine.name,
            engine_why=engine.why,
            device=engine.device,
            version=wire.__version__,
            started_at=self._started_at,
            sent_at=utc_now(),
            frames_per_second=round(rate, 2),
            in_hand=len(self._inbox),
            accepts_control=not self.settings.ignore_control,
            change=self._change(),
        )
        return Publication(self.topics.worker(self.worker_id), status.encode(), retain=True)

    def _change(self) -> Optional[Change]:
        change, comparison = self.control.change, self.lineup.comparison
        if change is None or comparison is None:
            return change
        return change.model_copy(update={"compared": comparison.compared, "agreed": comparison.agreed})

    # --- drain --------------------------------------------------------------------------------------

    def drain(self) -> int:
        """Take nothing new, answer what is in hand and what the broker still hands over, leave for good.

        Returns:
            0, or 1 if frames were left: those stay in the session, for the next worker of this id.
        """
        deadline = time.monotonic() + self.settings.drain_timeout
        self._state = "draining"
        log.info("draining: %d frames in hand; interrupt again to leave at once", len(self._inbox))
        self.connection.call(self._publish_status)
        self.connection.unsubscribe()
        while not self._drained():
            self.connection.check()
            if time.monotonic() > deadline:
                log.warning("%d frames are left with the broker, for the next start", len(self._inbox))
                self.connection.close(send_will=True)
                return 1
            time.sleep(0.02)
        self.connection.publish(self._status_publication("offline"))
        self.connection.close(session_expiry=0)
        log.info("left with nothing in hand")
        return 0

    def _drained(self) -> bool:
        if not self.connection.connected.is_set():
            return len(self._inbox) == 0  # what the broker holds stays in the session, for the next start
        quiet = time.monotonic() - self._last_delivery > QUIET
        return self.connection.unsubscribed.is_set() and len(self._inbox) == 0 and quiet
