"""What a worker tells Prometheus."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import wire
from wire.messages import Reason
from worker.payload.metadata import FIELDS
from worker.temperature import THERMAL, temperatures

disable_created_metrics()

IGNORED = ("retained", "no_camera", "qos0_flood")
#: How an adoption may end: the session is empty and gone, there was none, or it stays with the broker.
ADOPTIONS = ("adopted", "no_session", "cut_short")
STAGES = ("queue", "decode", "inference", "publish", "total")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_AGE_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class Metrics:
    """A worker's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.frames = Counter(
            "nanofleet_frames",
            "Frames by outcome: answered, or rejected for a reason",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.frames.labels("answered", "")
        for reason in Reason:
            self.frames.labels("rejected", reason.value)
        self.ignored = Counter(
            "nanofleet_ignored_messages",
            "Messages on a frames topic without an answer: retained ones, those of no valid camera, "
            "and a flood at QoS 0",
            ["reason"],
            registry=self.registry,
        )
        for ignored in IGNORED:
            self.ignored.labels(ignored)
        self.dropped = Counter(
            "nanofleet_dropped_metadata",
            "Fields beside a picture that could not be used; the picture is answered without them",
            ["field"],
            registry=self.registry,
        )
        for name in FIELDS:
            self.dropped.labels(name)
        stage = Histogram(
            "nanofleet_stage_seconds",
            "Time a frame spends in each stage",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        #: By stage, looked up once: there are five a frame.
        self.stages = {name: stage.labels(name) for name in STAGES}
        self.batch = Histogram(
            "nanofleet_batch_frames",
            "Frames in a batch",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.age = Histogram(
            "nanofleet_frame_age_seconds",
            "Time from a frame's capture to its answer, where the camera tells the time",
            buckets=_AGE_SECONDS,
            registry=self.registry,
        )
        self.skew = Gauge(
            "nanofleet_camera_clock_skew_seconds",
            "How far the clock of a camera is from this worker's, of those heard within an hour the farthest",
            registry=self.registry,
        )
        self.in_hand = Gauge(
            "nanofleet_frames_in_hand", "Frames received and not yet acked", registry=self.registry
        )
        self.connected = Gauge(
            "nanofleet_broker_connected", "1 while connected to the broker", registry=self.registry
        )
        self.reconnects = Counter(
            "nanofleet_broker_reconnects", "Connections after the first", registry=self.registry
        )
        self.worker = Info(
            "nanofleet_worker", "Who this worker is, to be joined on job and instance", registry=self.registry
        )
        self.model = Info("nanofleet_model", "What this worker runs, and on what", registry=self.registry)
        self.changes = Counter(
            "nanofleet_model_changes",
            "Model commands followed (serving), or that changed nothing (failed)",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("serving", "failed"):
            self.changes.labels(outcome)
        self.mismatch = Gauge(
            "nanofleet_model_mismatch",
            "1 while this worker serves another model than the command in force names; with "
            "--ignore-control no command is in force for it, and this is 0",
            registry=self.registry,
        )
        self.adoptions = Counter(
            "nanofleet_adoptions",
            "Dead workers whose frames this one took over (adopted); that had no session on its broker "
            "(no_session); that returned, or were left to another (cut_short)",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ADOPTIONS:
            self.adoptions.labels(outcome)
        self.adopted_frames = Counter(
            "nanofleet_adopted_frames", "Frames taken over from dead workers", registry=self.registry
        )
        self.adopting = Gauge(
            "nanofleet_adopting", "1 while this worker takes over another's frames", registry=self.registry
        )
        self.aside = Gauge(
            "nanofleet_stepped_aside",
            "1 while this worker leaves new frames to faster ones, to catch up",
            registry=self.registry,
        )
        self.asides = Counter(
            "nanofleet_step_asides", "Times that this worker stepped aside", registry=self.registry
        )
        #: When the client certificate ends, if the worker shows one.
        self.certificate_ends: Callable[[], Optional[datetime]] = lambda: None
        self.registry.register(_Certificate(lambda: self.certificate_ends()))
        #: What the model runs on.
        self.device = "cpu"
        self.registry.register(Machine(lambda: self.device))

    def show_model(self, **told: str) -> None:
        """Tell what serves from now on, and on which `device`."""
        self.device = told["device"]
        self.model.info({**told, "version": wire.__version__})


class _Certificate(Collector):
    """The end of the client certificate, read when Prometheus asks: the file may be another by now."""

    def __init__(self, ends: Callable[[], Optional[datetime]]) -> None:
        self._ends = ends

    def collect(self) -> Iterable[GaugeMetricFamily]:
        ends = self._ends()
        if ends is not None:
            yield GaugeMetricFamily(
                "nanofleet_client_certificate_expiry_timestamp_seconds",
                "When the worker's client certificate is no longer valid, in seconds since 1970",
                ends.timestamp(),
            )


class Machine(Collector):
    """Temperature and GPU memory, read when Prometheus asks, on machines that tell them."""

    def __init__(self, device: Callable[[], str], thermal: Path = THERMAL) -> None:
        """Args:
        device: tells what the model runs on.
        thermal: where Linux has the thermal zones.
        """
        self._device = device
        self._thermal = thermal

    def collect(self) -> Iterable[GaugeMetricFamily]:
        temperature = GaugeMetricFamily(
            "nanofleet_temperature_celsius", "Temperature by thermal zone", labels=["zone"]
        )
        for zone, celsius in sorted(temperatures(self._thermal).items()):
            temperature.add_metric([zone], celsius)
        if temperature.samples:
            yield temperature
        memory = _gpu_memory(self._device())
        if memory is not None:
            free, total = memory
            yield GaugeMetricFamily("nanofleet_gpu_memory_total_bytes", "Memory of the GPU", total)
            yield GaugeMetricFamily(
                "nanofleet_gpu_memory_used_bytes", "Memory in use, by any process", total - free
            )


def _gpu_memory(device: str) -> Optional[Any]:
    # The engine, which opens CUDA, comes first: asking must be neither what imports torch nor what opens it.
    # Nor is it there whole while it is imported, and until then the device is the CPU.
    torch = sys.modules.get("torch") if device != "cpu" else None
    return torch.cuda.mem_get_info(device) if torch and torch.cuda.is_initialized() else None
