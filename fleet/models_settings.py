"""What `nanofleet models list`, `show` and `download` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import List

from pydantic import Field

from wire.settings import POSITIONAL, LogLevel, Settings
from worker.settings import default_weights_dir


class ListSettings(Settings):
    """Every model that has a name: parameters, GFLOPs, top-1 on ImageNet-1k, size of its default weights.

    nanofleet models list
    nanofleet models list --json
    """

    json_: bool = Field(False, description="Print one JSON line for each model, and nothing else")


class ShowSettings(Settings):
    """One model: its weights, where they come from, where they are kept, how they want their pixels.

    nanofleet models show resnet50
    """

    name: str = Field(description="Model's name", json_schema_extra=POSITIONAL)
    weights_dir: Path = Field(
        default_factory=default_weights_dir, description="Where downloaded weights are kept"
    )
    json_: bool = Field(False, description="Print one JSON line for each of its weights, and nothing else")


class DownloadSettings(Settings):
    """Download weights ahead, for machines that will be offline.

    nanofleet models download resnet50 mobilenet_v3_small@IMAGENET1K_V1
    """

    names: List[str] = Field(description="NAME or NAME@WEIGHTS", json_schema_extra=POSITIONAL)
    weights_dir: Path = Field(
        default_factory=default_weights_dir,
        description="Where to keep them; $TORCH_HOME moves the default",
    )
    log_level: LogLevel = Field(
        "info", description="Least urgent lines of the log; the progress, where there is no terminal"
    )
