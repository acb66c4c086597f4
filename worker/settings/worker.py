"""Settings of `nanofleet worker`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from wire.observer_settings import ObserverSettings
from wire.settings import LogLevel, default_state_dir
from worker import cores, memory
from worker.settings.decoding import DecodingSettings
from worker.settings.engine import EngineSettings
from worker.settings.frames import FrameSettings
from worker.settings.inputs import InputSettings

#: Of a window that follows the machine: below what the brokers that nanofleet sets up let one client have in
#: flight.
LEAST_WINDOW, MOST_WINDOW = 32, 96


# --help lists the fields of the last base first.
class WorkerSettings(DecodingSettings, FrameSettings, InputSettings, ObserverSettings, EngineSettings):
    """Classify frames from a broker until SIGTERM or Ctrl-C.

    nanofleet worker --broker mqtt://cameras.local --model resnet18
    nanofleet worker --broker embedded              (starts a broker of its own, on this machine)
    nanofleet worker --input 'frigate/{camera}/{object}/snapshot'

    SIGTERM or Ctrl-C: take no new frames, answer those in hand, leave. A second one leaves at once;
    what is unanswered stays with the broker, for the next start or for another worker of the group.
    """

    log_level: LogLevel = Field(
        "info", description="Least urgent lines of the log; debug shows those of libraries as well"
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Front ends: with more than one, each is a process with a session, an id (ID-1, ID-2, "
        "…), a metrics port and decoders of its own, and one engine process runs the model for all. For a "
        "GPU that one process cannot keep busy; --decoders, --window and the like are of each",
    )
    metrics_port: int = Field(
        9464, ge=0, le=65535, description="Port of /metrics, /healthz, /readyz; 0 for none"
    )
    metrics_host: str = Field("127.0.0.1", description="Address the metrics listen on; 0.0.0.0 for all")
    state_dir: Path = Field(
        default_factory=default_state_dir, description="Where the worker keeps its id and its notes"
    )
    session_expiry: int = Field(
        86_400, ge=1, le=0xFFFFFFFE, description="Seconds the broker keeps frames for a worker that is gone"
    )
    ignore_control: bool = Field(
        False,
        description="Keep to --model, whatever `nanofleet models use` commands the fleet, and follow no "
        "restart or drain that comes over the broker",
    )
    observe: bool = Field(
        True, description="Keep the cameras' states as well, as `nanofleet observe` does, if no other does it"
    )
    status_interval: float = Field(10.0, gt=0, description="Seconds between two statuses")
    adopt_after: float = Field(
        60.0,
        ge=0,
        description="Seconds until this worker takes over the frames of one that does not return; 0: never",
    )
    step_aside_after: float = Field(
        0.3,
        ge=0,
        description="Seconds a new frame may wait here; with more, this worker leaves new ones to faster "
        "workers until it has caught up; 0: never",
    )
    stall_timeout: float = Field(
        60.0, gt=0, description="Seconds without progress after which the worker leaves, to be started again"
    )
    drain_timeout: float = Field(
        60.0,
        ge=0,
        description="Seconds to answer what is in hand when stopping, also while the broker is away; with "
        "nothing in hand the worker waits a second or two for it",
    )

    @property
    def receive_maximum(self) -> int:
        """Frames in hand, at most, as the broker is told."""
        fit = self.memory_share // 8 // self.max_payload
        return self.window or max(LEAST_WINDOW, min(8 * self.decoder_count, MOST_WINDOW, fit))

    @property
    def at_work(self) -> int:
        """Frames to have at work: the batches in the engine, the next one, and those being decoded."""
        return min(self.receive_maximum, (cores.batches() + 1) * self.max_batch + self.decoder_count)

    @property
    def memory_share(self) -> int:
        """Bytes of the machine's memory by which a front end's limits go."""
        return memory.total() // self.processes
