"""Which model, and what runs it: settings of `nanofleet worker` and `nanofleet classify`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
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
    precision: Literal["exact", "half"] = Field(
        "half",
        description="exact computes in float32 alone; half also in 16 bits, on a CPU only where that is "
        "faster and its answers agree, if need be with close calls answered again in float32",
    )
    trial_timeout: float = Field(
        120.0, gt=0, le=86_400, description="Seconds of CPU time in which an ONNX file must pass its trial"
    )
    decode: Literal["fast", "exact"] = Field(
        "fast", description="fast lets libjpeg shrink large JPEGs while decoding; exact never does"
    )
