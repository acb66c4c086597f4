"""How frames are taken, batched and answered, and which are too old or too large."""

from __future__ import annotations

from functools import cached_property
from typing import Dict, List, Optional

from pydantic import BaseModel, Field, field_validator
from typing_extensions import Literal

from wire.settings import Names
from wire.topics import ID


class FrameSettings(BaseModel):
    """What is done with a frame until it is decoded, and what its Result has."""

    top_k: int = Field(5, ge=1, le=1000, description="Candidates in a Result")
    max_batch: int = Field(
        0, ge=0, le=256, description="Frames the engine takes at once, at most; 0 for what suits it"
    )
    max_delay: float = Field(0.0, ge=0, le=10, description="Seconds to wait for a fuller batch")
    window: int = Field(
        0,
        ge=0,
        le=65535,
        description="Frames in hand, at most (MQTT's Receive Maximum); bounds memory. 0: 8 for each decoder, "
        "at least 32 and at most 96, as far as an eighth of the machine's memory goes",
    )
    max_age: Names = Field(
        [],
        description="Seconds after which a frame is too old to classify; CAMERA=SECONDS for one camera's, "
        "may be repeated. A camera's clock need not agree with this machine's",
    )
    skip_still: bool = Field(
        False,
        description="Answer a frame that hardly differs from its camera's last classified one as that was, "
        "without running the model: saves most of the work for cameras that mostly show the same. Its Result "
        "names that frame in `repeats`; every 30 s the model looks again in any case. For one camera: "
        "`nanofleet cameras set CAMERA skip_still=true`, and =false to leave one out",
    )
    retained: Literal["ignore", "answer"] = Field(
        "ignore",
        description="What to do with a frame that comes with MQTT's retain flag: an old picture, which some "
        "brokers, Mosquitto among them, send each time a worker subscribes",
    )
    snapshot_every: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds between two snapshots of a camera, at least: retained pictures of the frames at "
        "which its label changed, for Home Assistant and pages; 0: none",
    )
    max_payload: int = Field(16_000_000, ge=1, description="Bytes of a frame's payload, at most")

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
