"""Settings of `nanofleet models list`, `show`, `download` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import List

from pydantic import Field, field_validator

from wire.model_choice import ModelChoice
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


class ExportSettings(Settings, ModelChoice):
    """Write a model as one ONNX file, for workers without PyTorch (pip install '.[onnx]').

    nanofleet models export mobilenet_v2 mobilenet.onnx
    nanofleet models export resnet18@birds.pth birds.onnx --labels birds.txt --resize 224

    The file carries how its pixels are prepared, its classes, and what it was made from: a worker, `classify`
    and `models use` take it without a further flag, and answer as they answer by the model itself, under the
    same name. It needs neither PyTorch there nor a network.

    An existing FILE.onnx is replaced, once the new one is whole; it keeps its mode, and a link stays a link.
    """

    model: str = Field(
        min_length=1,
        max_length=4096,
        description="NAME, NAME@WEIGHTS or NAME@FILE; see `nanofleet models list`",
        json_schema_extra=POSITIONAL,
    )
    file: Path = Field(description="The file to write; its name ends in .onnx", json_schema_extra=POSITIONAL)
    weights_dir: Path = Field(
        default_factory=default_weights_dir,
        description="Where downloaded weights and exports are kept; $TORCH_HOME moves the default",
    )
    log_level: LogLevel = Field(
        "info", description="Least urgent lines of the log; the progress, where there is no terminal"
    )

    @field_validator("file")
    @classmethod
    def _is_called_onnx(cls, file: Path) -> Path:
        if file.suffix.lower() != ".onnx":
            raise ValueError(f"its name must end in .onnx, by which a worker knows it, not {file}")
        return file
