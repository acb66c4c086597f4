"""A worker's metrics, by what they measure: frames, the broker, what serves, and the other workers."""

from __future__ import annotations

from datetime import datetime
from typing import Callable, Dict, Iterable, Optional

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)

import wire
from wire.messages import Reason
from worker.machine import Certificate, Machine
from worker.payload.metadata import FIELDS

disable_created_metrics()

IGNORED = ("retained", "no_camera", "qos0_flood")
#: How an adoption may end: the session is empty and gone, there was none, or it stays with the broker.
ADOPTIONS = ("adopted", "no_session", "cut_short")
STAGES = ("queue", "decode", "inference", "publish", "total")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_AGE_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class Metrics:
    """All metrics of a worker, in a registry of their own.

    Attributes:
        registry: what /metrics shows.
        certificate_ends: when the client certificate ends; None where the worker shows none.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.frames = FrameMetrics(self.registry)
        self.broker = BrokerMetrics(self.registry)
        self.serving = ServingMetrics(self.registry)
        self.membership = MembershipMetrics(self.registry)
        self.certificate_ends: Callable[[], Optional[datetime]] = lambda: None
        self.registry.register(Certificate(lambda: self.certificate_ends()))
        self.registry.register(Machine(lambda: self.serving.device))


class FrameMetrics:
    """What becomes of frames, and how long each part of that takes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count(registry)
        self._measure(registry)

    def _count(self, registry: CollectorRegistry) -> None:
        frames = Counter(
            "nanofleet_frames",
            "Frames by outcome: answered, or rejected for a reason",
            ["outcome", "reason"],
            registry=registry,
        )
        #: By the reason of a rejection; None for what was answered. Looked up once.
        self.outcomes: Dict[Optional[Reason], Counter] = {None: frames.labels("answered", "")}
        self.outcomes.update({reason: frames.labels("rejected", reason.value) for reason in Reason})
        self.repeated = Counter(
            "nanofleet_repeated_frames",
            "Frames answered as their camera's last classified one, from which they hardly differ",
            registry=registry,
        )
        self.close_calls = Counter(
            "nanofleet_close_calls",
            "Frames that float32 answered because half precision could not tell them, or not most before",
            registry=registry,
        )
        self.ignored = _counter(
            "nanofleet_ignored_messages",
            "Messages on a frames topic without an answer: retained ones, those of no valid camera, "
            "and a flood at QoS 0",
            *("reason", IGNORED, registry),
        )
        self.dropped = _counter(
            "nanofleet_dropped_metadata",
            "Fields beside a picture that could not be used; the picture is answered without them",
            *("field", FIELDS, registry),
        )

    def _measure(self, registry: CollectorRegistry) -> None:
        stage = Histogram(
            "nanofleet_stage_seconds",
            "Time a frame spends in each stage",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        #: By stage, looked up once: there are five a frame.
        self.stages = {name: stage.labels(name) for name in STAGES}
        self.batch = Histogram(
            "nanofleet_batch_frames",
            "Frames in a batch",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )
        self.age = Histogram(
            "nanofleet_frame_age_seconds",
            "Time from a frame's capture to its answer, where the camera tells the time",
            buckets=_AGE_SECONDS,
            registry=registry,
        )
        self.skew = Gauge(
            "nanofleet_camera_clock_skew_seconds",
            "How far the clock of a camera is from this worker's, of those heard within an hour the farthest",
            registry=registry,
        )
        self.in_hand = Gauge(
            "nanofleet_frames_in_hand", "Frames received and not yet acked", registry=registry
        )


class BrokerMetrics:
    """The connection to the broker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected = Gauge(
            "nanofleet_broker_connected", "1 while connected to the broker", registry=registry
        )
        self.reconnects = Counter(
            "nanofleet_broker_reconnects", "Connections after the first", registry=registry
        )


class ServingMetrics:
    """Who this worker is, and what it serves.

    Attributes:
        device: what the model runs on.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.worker = Info(
            "nanofleet_worker", "Who this worker is, to be joined on job and instance", registry=registry
        )
        #: When it began, so that one that starts again and again can be told from one that runs.
        self.started = Gauge(
            "nanofleet_start_time_seconds",
            "When this worker began, in seconds since 1970, by its own clock",
            registry=registry,
        )
        self.started.set_to_current_time()
        self.model = Info("nanofleet_model", "What this worker runs, and on what", registry=registry)
        self.changes = _counter(
            "nanofleet_model_changes",
            "Model commands followed (serving), or that changed nothing (failed)",
            *("outcome", ("serving", "failed"), registry),
        )
        self.mismatch = Gauge(
            "nanofleet_model_mismatch",
            "1 while this worker serves another model than the command in force names; with "
            "--ignore-control no command is in force for it, and this is 0",
            registry=registry,
        )
        self.device = "cpu"

    def report(self, *, device: str, **model: str) -> None:
        """Show which model serves from now on, and on which device."""
        self.device = device
        self.model.info({**model, "device": device, "version": wire.__version__})


class MembershipMetrics:
    """This worker among the others: adoptions, and stepping aside."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.adoptions = _counter(
            "nanofleet_adoptions",
            "Dead workers whose frames this one took over (adopted); that had no session on its broker "
            "(no_session); that returned, or were left to another (cut_short)",
            *("outcome", ADOPTIONS, registry),
        )
        self.adopted_frames = Counter(
            "nanofleet_adopted_frames", "Frames taken over from dead workers", registry=registry
        )
        self.adopting = Gauge(
            "nanofleet_adopting", "1 while this worker takes over another's frames", registry=registry
        )
        self.aside = Gauge(
            "nanofleet_stepped_aside",
            "1 while this worker leaves new frames to faster ones, to catch up",
            registry=registry,
        )
        self.asides = Counter(
            "nanofleet_step_asides", "Times that this worker stepped aside", registry=registry
        )


def _counter(name: str, text: str, label: str, values: Iterable[str], registry: CollectorRegistry) -> Counter:
    """A counter with one label, whose values all stand there from the start, at 0."""
    counter = Counter(name, text, [label], registry=registry)
    for value in values:
        counter.labels(value)
    return counter
