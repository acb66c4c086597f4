"""Which model, and what runs it: settings of `nanofleet worker` and `nanofleet classify`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from pydantic import Field, model_validator
from typing_extensions import Literal

from wire.model_choice import ModelChoice


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
    engine: Literal["auto", "torch", "onnxruntime", "openvino"] = Field(
        "auto",
        description="What runs the model; auto takes the fastest that is installed for the device, on a CPU "
        "by trial",
    )
    precision: Literal["exact", "half", "int8"] = Field(
        "half",
        description="exact computes in float32 alone; half also in 16 bits, and int8 in these and, with "
        "--calibration, in 8; on a CPU only where that is faster and its answers agree, if need be with "
        "close calls answered again in float32",
    )
    calibration: Optional[Path] = Field(
        None,
        description="Folder with frames of your cameras, 32 at least, of which --precision int8 takes up to "
        "256 to calibrate with",
    )
    trial_timeout: float = Field(
        120.0, gt=0, le=86_400, description="Seconds of CPU time in which an ONNX file must pass its trial"
    )
    decode: Literal["fast", "exact"] = Field(
        "fast", description="fast lets libjpeg shrink large JPEGs while decoding; exact never does"
    )

    @model_validator(mode="after")
    def _int8_is_calibrated_and_nothing_else(self) -> EngineSettings:
        # Who says another precision, as to compare them, need not take the folder out of a file.
        if self.calibration is not None and "precision" not in self.model_fields_set:
            raise ValueError(
                "--calibration: its frames are for --precision int8 alone: say that as well, or leave them "
                "out"
            )
        if self.precision == "int8" and self.calibration is None:
            raise ValueError(
                "--precision int8 is calibrated with frames of your cameras: --calibration FOLDER names a "
                "folder with 32 of them or more"
            )
        return self
