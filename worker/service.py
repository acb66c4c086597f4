"""A worker's life: startup, serve, drain; and on the way, one frame's path.

network thread        decoder processes    engine thread          network thread
_receive ───────────> DecoderPool ───────> _infer ──────────────> _answer ── PUBACK ──> Inbox.settle
(Inbox.admit)         bytes -> pixels      Batcher -> Engine      publish               (ack, in order)
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from typing import Iterator, List, Optional, Tuple, Union

import numpy as np

import wire
from wire.broker import Broker
from wire.connection import PACKET_TOO_LARGE, Connection, Delivery, Publication
from wire.errors import ConnectionRefused, DecodeError, DuplicateMember
from wire.messages import Candidate, Rejection, Result, WorkerStatus, utc_now
from wire.topics import is_id
from worker.batcher import Batcher
from worker.decoder import DecoderPool, Pixels
from worker.engine import Engine, open_engine, top_k
from worker.errors import FrameError
from worker.frame import Frame
from worker.identity import claim_worker_id
from worker.inbox import Inbox
from worker.metrics import Metrics, serve_metrics
from worker.models import Model, load_model
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
        model = load_model(settings.model, settings.labels)
        engine = open_engine(
            model, engine=settings.engine, device=settings.device, max_batch=settings.max_batch
        )
        engine.warm_up()
        log.info(
            "%s (%s), %d classes, by %s on %s",
            model.name,
            model.weights,
            len(model.classes),
            engine.name,
            engine.device,
        )

        with _stop_signals() as stop:
            worker = Worker(settings, worker_id, model, engine, stop)
            connection = worker.connect_to(broker)
            with worker.decoders, worker.engine_thread(), worker.metrics_server() as metrics_url, connection:
                if metrics_url:
                    log.info("metrics on %s", metrics_url)
                if connection.wait_connected(stop):
                    log.info("connected to %s, reading %s", broker, ", ".join(worker.subscriptions))
                worker.serve()
                return worker.drain()


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or Ctrl-C sets; the second raises KeyboardInterrupt."""
    stop = threading.Event()

    def handle(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    # Before, both have ended the process on the spot: it had no frame in hand.
    previous = [(s, signal.signal(s, handle)) for s in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield stop
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)


class Worker:
    """The parts of a worker, and what flows between them."""

    def __init__(
        self, settings: WorkerSettings, worker_id: str, model: Model, engine: Engine, stop: threading.Event
    ) -> None:
        self.settings = settings
        self.worker_id = worker_id
        self.model = model
        self.engine = engine
        self.topics = settings.topics
        self.subscriptions = [f"$share/{settings.group}/{t.filter}" for t in settings.templates]
        self.decoders: DecoderPool[Frame] = DecoderPool(
            model.preprocessing,
            processes=settings.decoder_count,
            slots=settings.window,
            timeout=settings.decoder_timeout,
            max_pixels=settings.max_pixels,
            on_done=self._decoded,
            on_failure=self._fail,
        )
        self._templates = settings.templates
        self._batcher: Batcher[Tuple[Frame, Pixels]] = Batcher(settings.max_batch, settings.max_delay)
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
        self.metrics.model.info(
            {
                "model": model.name,
                "weights": model.weights,
                "engine": engine.name,
                "device": engine.device,
                "version": wire.__version__,
            }
        )

    # --- startup ------------------------------------------------------------------------------------

    def connect_to(self, broker: Broker) -> Connection:
        """The connection, not yet entered. Its session outlives this process, and so do its frames."""
        self.connection = Connection(
            broker,
            f"nanofleet-worker-{self.worker_id}",
            on_delivery=self._receive,
            on_connected=self._connected,
            on_lost=self._lost,
            on_failure=self._fail,
            subscriptions=[*self.subscriptions, self.topics.worker(self.worker_id)],
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
            self.decoders.submit(frame, frame.image)

    def _camera(self, topic: str) -> Optional[str]:
        matches = (template.match(topic) for template in self._templates)
        cameras = [match["camera"] for match in matches if match]
        return cameras[0] if cameras and is_id(cameras[0]) else None

    def _receive_other(self, delivery: Delivery) -> None:
        if delivery.topic == self.topics.worker(self.worker_id):
            self._look_for_twin(delivery)
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

    def _decoded(self, frame: Frame, outcome: Union[Pixels, FrameError]) -> None:
        """In a thread of the decoder pool."""
        frame.image = b""
        if isinstance(outcome, FrameError):
            error = outcome
            self.connection.call(lambda: self._reject(frame, error))
        else:
            self._batcher.put((frame, outcome))

    def _infer_until_closed(self) -> None:
        try:
            while True:
                batch = self._batcher.take()
                if not batch:
                    return
                self._infer(batch)
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            self._fail(error)

    def _infer(self, batch: List[Tuple[Frame, Pixels]]) -> None:
        fresh = []
        for frame, pixels in batch:
            try:
                frame.check_age(self.settings.max_age)
                fresh.append((frame, pixels))
            except FrameError as error:
                pixels.release()
                self.connection.call(lambda frame=frame, error=error: self._reject(frame, error))  # type: ignore[misc]
        if not fresh:
            return
        began = time.perf_counter()
        images = np.stack([pixels.array for _, pixels in fresh])
        for _, pixels in fresh:
            pixels.release()
        probabilities = self.engine.infer(images)
        inference = time.perf_counter() - began
        self.metrics.batch.observe(len(fresh))
        for (frame, pixels), row in zip(fresh, probabilities):
            queued = began - frame.received - pixels.decode_ms / 1000
            for stage, seconds in (
                ("queue", queued),
                ("decode", pixels.decode_ms / 1000),
                ("inference", inference),
            ):
                self.metrics.stage.labels(stage).observe(seconds)
            result = self._result(frame, pixels, row, queued, inference, len(fresh))
            self.connection.call(lambda frame=frame, result=result: self._answer(frame, result))  # type: ignore[misc]

    def _result(
        self,
        frame: Frame,
        pixels: Pixels,
        probabilities: np.ndarray,
        queued: float,
        inference: float,
        batch_size: int,
    ) -> Result:
        top = tuple(
            Candidate(label=self.model.classes[index], index=index, confidence=confidence)
            for index, confidence in top_k(probabilities, self.settings.top_k)
        )
        return Result(
            frame_id=frame.frame_id,
            camera=frame.camera,
            worker=self.worker_id,
            model=self.model.name,
            weights=self.model.weights,
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

    def _publish_status(self) -> None:
        self.connection.publish(self._status_publication(self._state))

    def _status_publication(self, state: str) -> Publication:
        now, answered = time.monotonic(), self._answered
        then, before = self._last_status
        # Two statuses at almost the same time say nothing about the rate.
        rate = (answered - before) / (now - then) if now - then > 1 else 0.0
        self._last_status = (now, answered)
        status = WorkerStatus(
            worker=self.worker_id,
            state=state,
            model=self.model.name,
            weights=self.model.weights,
            engine=self.engine.name,
            device=self.engine.device,
            version=wire.__version__,
            started_at=self._started_at,
            sent_at=utc_now(),
            frames_per_second=round(rate, 2),
            in_hand=len(self._inbox),
        )
        return Publication(self.topics.worker(self.worker_id), status.encode(), retain=True)

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
