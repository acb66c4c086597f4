"""Settings of `nanofleet worker` and `nanofleet classify`."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from pydantic import Field, field_validator
from typing_extensions import Literal

from wire.broker import BrokerSettings
from wire.lengths import MAX_INPUTS, MAX_TOPIC, MAX_WORD
from wire.model_choice import ModelChoice
from wire.observer_settings import ObserverSettings
from wire.picture.limits import MAX_PIXELS, MEMORY
from wire.settings import POSITIONAL, LogLevel, Names, Settings, default_state_dir
from wire.topics import ID, Template, is_id
from worker import memory

#: Bytes of address space of a decoder process. The least is enough for a 4K picture in each format.
LEAST_DECODER_MEMORY, MOST_DECODER_MEMORY = 192 << 20, MEMORY


def default_weights_dir() -> Path:
    """Where torchvision itself keeps them, so that what is there already is found."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


class EngineSettings(ModelChoice):
    """Which model, and what runs it."""

    weights_dir: Path = Field(
        default_factory=default_weights_dir,
        description="Where downloaded weights and their exports are kept; $TORCH_HOME moves the default",
    )
    device: str = Field("auto", description="Where the engine runs: auto, cpu, cuda or cuda:N")
    engine: Literal["auto", "torch", "onnxruntime"] = Field(
        "auto", description="What runs the model; auto takes the fastest that is installed for the device"
    )
    trial_timeout: float = Field(
        120.0, gt=0, le=86_400, description="Seconds of CPU time in which an ONNX file must pass its trial"
    )
    decode: Literal["fast", "exact"] = Field(
        "fast", description="fast lets libjpeg shrink large JPEGs while decoding; exact never does"
    )


class WorkerSettings(BrokerSettings, ObserverSettings, EngineSettings):
    """Classify frames from a broker until told to stop.

    nanofleet worker --broker mqtt://cameras.local --model resnet18
    nanofleet worker --broker embedded              (starts a broker of its own, on this machine)
    nanofleet worker --input 'frigate/{camera}/{object}/snapshot'

    SIGTERM or Ctrl-C: take no new frames, answer those in hand, leave. A second one leaves at once;
    what is unanswered stays with the broker, for the next start or for another worker of the group.
    """

    log_level: LogLevel = Field(
        "info", description="Least urgent lines of the log; debug shows those of libraries as well"
    )
    group: str = Field(
        "workers", max_length=MAX_WORD, description="Workers of one group share the frames between them"
    )
    worker_id: Optional[str] = Field(
        None,
        description="Stable name of this worker (default: the host's name, with -2, -3, … beside others)",
    )
    input: Names = Field(
        [], description="Topic template with {camera}, may be repeated (default: ROOT/frames/{camera})"
    )
    top_k: int = Field(5, ge=1, le=1000, description="Candidates in a Result")
    max_batch: int = Field(
        0, ge=0, le=256, description="Frames the engine takes at once, at most; 0 for what suits it"
    )
    max_delay: float = Field(0.0, ge=0, le=10, description="Seconds to wait for a fuller batch")
    window: int = Field(
        32, ge=1, le=65535, description="Frames in hand, at most (MQTT's Receive Maximum); bounds memory"
    )
    max_age: Names = Field(
        [],
        description="Seconds after which a frame is too old to classify; CAMERA=SECONDS for one camera's, "
        "may be repeated. A camera's clock need not agree with this machine's",
    )
    retained: Literal["ignore", "answer"] = Field(
        "ignore",
        description="What to do with a frame that comes with MQTT's retain flag: an old picture, which some "
        "brokers, Mosquitto among them, send each time a worker subscribes",
    )
    max_payload: int = Field(16_000_000, ge=1, description="Bytes of a frame's payload, at most")
    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        description="Pixels to decode of an image, at most: all of a PNG or WebP; of a JPEG those that "
        "libjpeg's scaling leaves, so that a phone's 200 megapixels are about 3 million. A progressive JPEG, "
        "which is held in memory as a whole, must also fit into --decoder-memory",
    )
    decoders: int = Field(0, ge=0, le=64, description="Decoder processes; 0: one more than cores, at most 4")
    decoder_timeout: float = Field(5.0, gt=0, le=3600, description="Seconds that decoding one image may take")
    decoder_memory: int = Field(
        0,
        ge=0,
        description="Megabytes of address space of a decoder process; 0: 1024, or as many less that all "
        "together take no more than half of the machine's memory",
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
        False, description="Keep to --model, whatever `nanofleet models use` says to the fleet"
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

    @field_validator("worker_id")
    @classmethod
    def _worker_id_is_an_id(cls, worker_id: Optional[str]) -> Optional[str]:
        if worker_id is not None and not ID.fullmatch(worker_id):
            raise ValueError(f"1 to 64 letters, digits, - and _, not {worker_id!r}")
        return worker_id

    @field_validator("group")
    @classmethod
    def _group_is_a_level(cls, group: str) -> str:
        if not group or set(group) & set("/+#\0"):
            raise ValueError(f"one topic level without wildcards, not {group!r}")
        return group

    @field_validator("input")
    @classmethod
    def _inputs_are_templates(cls, inputs: List[str]) -> List[str]:
        if len(inputs) > MAX_INPUTS:
            raise ValueError(f"at most {MAX_INPUTS} topic templates, not {len(inputs)}")
        for text in inputs:
            if len(text) > MAX_TOPIC:
                raise ValueError(f"{text[:40]!r}...: at most {MAX_TOPIC} characters, not {len(text)}")
            Template(text)
        return inputs

    @field_validator("max_age")
    @classmethod
    def _max_ages_are_seconds(cls, max_age: List[str]) -> List[str]:
        _max_ages(max_age)
        return max_age

    @cached_property
    def _limits(self) -> Dict[str, float]:
        return _max_ages(self.max_age)

    def max_age_of(self, camera: str) -> Optional[float]:
        """Seconds after which a camera's frame is too old to classify; None for never."""
        return self._limits.get(camera, self._limits.get(""))

    @cached_property
    def templates(self) -> List[Template]:
        """Where frames come from."""
        return [Template(text) for text in self.input or [self.topics.frames("{camera}")]]

    def camera_of(self, topic: str) -> Optional[str]:
        """Whose frames come on a topic; None if it is no frames topic, or names no valid camera."""
        matches = (template.match(topic) for template in self.templates)
        cameras = [match["camera"] for match in matches if match]
        return cameras[0] if cameras and is_id(cameras[0]) else None

    @property
    def inputs(self) -> Tuple[str, ...]:
        """The templates, as texts."""
        return tuple(template.text for template in self.templates)

    @property
    def subscriptions(self) -> List[str]:
        """Filters of the topics that the group shares."""
        return [f"$share/{self.group}/{template.filter}" for template in self.templates]

    @property
    def decoder_count(self) -> int:
        """Decoder processes to start."""
        # One more, so that no core has to wait while another decoder's pixels are handed over.
        return self.decoders or min(4, (os.cpu_count() or 1) + 1)

    @property
    def decoder_bytes(self) -> int:
        """Bytes of address space that a decoder process may use."""
        if self.decoder_memory:
            return self.decoder_memory * 1_000_000
        share = memory.total() // 2 // self.decoder_count
        return max(LEAST_DECODER_MEMORY, min(share, MOST_DECODER_MEMORY))

    @property
    def at_work(self) -> int:
        """Frames to have at work: two batches in the engine, the next one, and those being decoded."""
        return min(self.window, 3 * self.max_batch + self.decoder_count)


def _max_ages(texts: List[str]) -> Dict[str, float]:
    """Seconds by camera; under the empty name those for all others."""
    limits = {}
    for text in texts:
        camera, _, seconds = text.rpartition("=")
        try:
            limits[camera] = float(seconds)
        except ValueError:
            limits[camera] = 0.0
        if not 0 < limits[camera] < float("inf") or (camera and not ID.fullmatch(camera)):
            raise ValueError(f"seconds, or CAMERA=SECONDS, not {text!r}")
    return limits


class ClassifySettings(Settings, EngineSettings):
    """Classify images on this machine, without a broker.

    nanofleet classify coffee.png --model resnet18
    nanofleet classify photos/*.jpg --model mobilenet --top-k 3 --json
    """

    images: List[Path] = Field(description="Image files: JPEG, PNG or WebP", json_schema_extra=POSITIONAL)
    top_k: int = Field(5, ge=1, le=1000, description="Candidates to show for each image")
    json_: bool = Field(False, description="Print one JSON line for each image, and nothing else")
    log_level: LogLevel = Field(
        "info", description="Least urgent lines of the log; with --json: warning, unless it is given"
    )

    @property
    def level(self) -> str:
        """Least urgent lines that are logged: an export, which takes a while, says so only to people."""
        asked = "log_level" in self.model_fields_set
        return "warning" if self.json_ and not asked else self.log_level
