"""Settings of `nanofleet classify`."""

from __future__ import annotations

from pathlib import Path
from typing import List

from pydantic import Field

from wire.settings import POSITIONAL, LogLevel, Settings
from worker.settings.engine import EngineSettings


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
        """Least urgent lines that are logged: an export, which takes a while, is logged only for people."""
        asked = "log_level" in self.model_fields_set
        return "warning" if self.json_ and not asked else self.log_level
