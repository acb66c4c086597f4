"""One frame's path: five methods, in the order in which a frame passes them.

receive ──> Scheduler ──> start ──> decoders, engine ──> done ──> finish ──> Outbox ── PUBACK ──> acknowledge
network thread            network       decoder's or engine's     network                         network
                          └ too old: rejected └ too old: rejected

`Frame.check_age` refuses a stale frame (`expired`), as it starts and again before the engine (`Job.check`).
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from typing import Dict, List, Tuple

from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from worker.answers import rejection_of, result_of, timings_of
from worker.delivery.clocks import Clocks
from worker.delivery.crash_journal import CrashJournal
from worker.delivery.frame import Frame
from worker.delivery.outbox import Answer, Outbox
from worker.delivery.scheduler import Scheduler
from worker.delivery.unacked import Unacked
from worker.errors import FrameError
from worker.membership.pacing import Pacing
from worker.membership.presence import Presence
from worker.serving.job import Job, Outcome
from worker.serving.still import StillCameras
from worker.snapshots import Snapshots
from worker.worker import Worker

log = logging.getLogger(__name__)


#: Frames, what came of each, and what is answered.
Answered = List[Tuple[Frame, Outcome, Answer]]


class _Batch(threading.local):
    """A thread's answers since its last `_flush`."""

    def __init__(self) -> None:
        self.answered: Answered = []


class Pipeline:
    """A context manager: entering opens the files of the frames that wait and of those at work.

    Attributes:
        outbox: publishes the answers.
        clocks: how old frames are, although no two clocks agree.
        snapshots: publishes frames at which labels change.
    """

    def __init__(self, worker: Worker, connection: Connection, presence: Presence, pacing: Pacing) -> None:
        """Build the parts of the path; entering opens their files.

        Args:
            worker: whose models classify the frames.
            connection: this worker's own, whose network thread runs all steps but `done`; the frames of an
                adoption come over that adoption's.
            presence: counts those that are answered.
            pacing: counts those that come and go, and so how fast.
        """
        settings = worker.settings
        self._max_payload = settings.max_payload
        self._connection = connection
        self._switch = worker.switch
        self._cameras = worker.cameras
        self._still = StillCameras()
        self._presence = presence
        self._pacing = pacing
        self._metrics = worker.metrics.frames
        folder, self._worker_id = settings.state_dir, worker.id
        self._scheduler = Scheduler(
            CrashJournal(folder / f"{worker.id}.attempts", 4 * settings.receive_maximum),
            at_work=settings.at_work,
            window=settings.receive_maximum,
            folder=folder / f"{worker.id}.waiting",
            work=self.start,
        )
        self.clocks = Clocks(folder / f"{worker.id}.clocks", settings.session_expiry)
        self.outbox = Outbox(
            connection,
            settings.topics,
            worker.id,
            on_published=self.acknowledge,
            on_failure=worker.life.fail,
        )
        self.snapshots = Snapshots(worker, connection)
        self._batch = _Batch()
        self._metrics.skew.set_function(self.clocks.widest)

    def __enter__(self) -> Pipeline:
        self._scheduler.__enter__()
        self.snapshots.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.outbox.close()
        finally:
            self.snapshots.__exit__(*exception)
            self._scheduler.__exit__(*exception)

    # --- one frame's path -----------------------------------------------------------------------------

    def receive(self, delivery: Delivery, camera: str, unacked: Unacked) -> None:
        """Take in what a session has delivered. In the network thread.

        Args:
            delivery: a frame.
            camera: whose frame it is, by its topic.
            unacked: the frames in hand of the session that delivered it, this worker's or an adopted one.
        """
        frame = Frame.receive(delivery, camera)
        if not unacked.admit(frame):  # the copy of one in hand, which goes on as it was
            return
        self._pacing.received()
        try:
            self._scheduler.submit(frame)
        except FrameError as error:
            self._reject(frame, error)

    def start(self, frame: Frame) -> None:
        """Have a frame decoded and classified: it is its turn. In the network thread."""
        treatment = self._cameras.of(frame.camera)
        check = functools.partial(frame.check_age, treatment.max_age)
        try:
            frame.unwrap(self._max_payload)
            self._report_dropped(frame)
            self.clocks.judge(frame)
            check()
        except FrameError as error:
            self._reject(frame, error)
            return
        image, frame.image = frame.image, b""
        done = functools.partial(self.done, frame)
        job = Job(check, done, self._flush, treatment.region, treatment.grouping)
        if treatment.skip_still:
            job = self._still.take(job, frame.camera, frame.frame_id)
        self._switch.submit(job, image)

    def done(self, frame: Frame, outcome: Outcome) -> None:
        """Write the answer of a frame. In a decoder's thread, or the engine's."""
        if isinstance(outcome, FrameError):
            answer = rejection_of(frame, outcome, self._worker_id)
        else:
            timings = timings_of(frame, outcome)
            self._observe(timings, repeats=outcome.repeats is not None)
            answer = result_of(frame, outcome, timings, self._worker_id)
        self._batch.answered.append((frame, outcome, answer))

    def finish(self, answered: Answered) -> None:
        """Publish answers, and let the next frames start. In the network thread."""
        for frame, outcome, answer in answered:
            self.outbox.put(frame, answer)
            self._scheduler.done(frame)
            self.snapshots.offer(frame, outcome)
        self._pacing.answered(len(answered))

    def acknowledge(self, frame: Frame, answer: Answer, publishing: float) -> None:
        """Settle a frame: the broker has its answer. In the network thread.

        `Unacked` acks it once all before it are settled, through the connection that delivered it
        (`Session._ack`, `Adoption._ack`).
        """
        assert frame.unacked is not None
        frame.unacked.settle(frame)
        total = time.perf_counter() - frame.received_ticks
        self._presence.count(total)
        self._metrics.outcomes[answer.reason].inc()
        self._metrics.stages["publish"].observe(publishing)
        self._metrics.stages["total"].observe(total)
        if frame.captured_at is not None:
            self._metrics.age.observe(max(0.0, frame.age()))

    # --- what they share ------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether at least as many frames wait as the window allows."""
        return self._scheduler.full

    def _reject(self, frame: Frame, error: FrameError) -> None:
        self.finish([(frame, error, rejection_of(frame, error, self._worker_id))])

    def _flush(self) -> None:
        """Have the network thread finish a batch: as a whole, because `Pacing` averages over batches."""
        answered, self._batch.answered = self._batch.answered, []
        self._connection.call(lambda: self.finish(answered))

    def _observe(self, timings: Dict[str, float], *, repeats: bool) -> None:
        """Count a classified frame; of one that repeats another's answer the engine has not seen anything."""
        if repeats:
            self._metrics.repeated.inc()
        for stage, seconds in timings.items():
            if not (repeats and stage == "inference"):
                self._metrics.stages[stage].observe(seconds)

    def _report_dropped(self, frame: Frame) -> None:
        for field in frame.dropped:
            self._metrics.dropped.labels(field).inc()
        if frame.dropped:
            notes = "; ".join(frame.notes)
            log.warning("a frame of %s goes on without part of its metadata: %s", frame.camera, notes)
