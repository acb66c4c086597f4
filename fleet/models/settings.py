"""Settings of `nanofleet models list`, `show`, `download`, `export`, `use` and `reset`."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from pydantic import Field, field_validator

from wire.broker import BrokerSettings
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


class ResetSettings(BrokerSettings):
    """Let workers go back to the model of their own settings, and wait until they have.

    nanofleet models reset                  takes back the command for the fleet
    nanofleet models reset --worker nano-1  takes back the command for one worker
    """

    worker: Optional[str] = Field(None, description="Only this worker (default: the fleet)")
    timeout: float = Field(
        600.0, gt=0, description="Seconds to wait for the broker, and then for the workers"
    )


class UseSettings(BrokerSettings, ModelChoice):
    """Change the model of a running fleet, and wait until every worker has reported.

    nanofleet models use resnet50
    nanofleet models use resnet18@birds.pth --labels birds.txt --worker nano-1
    nanofleet models use efficientnet_b0 --canary 1

    Each worker loads the model beside the one that serves, then swaps between two frames; one that cannot
    keeps its model and reports why. Files are looked for in each worker's --weights-dir. The command stays
    with the broker: workers that come later follow it, until `nanofleet models reset`.

    With --canary N, N workers change first and run the former model beside the new one on live frames; the
    rest follow only if rejections, latency and agreement stay within the bounds, else the N go back.

    The exit code is 0 only if every worker that should now runs the model.
    """

    model: str = Field(
        description="NAME, NAME@WEIGHTS, NAME@FILE or FILE.onnx; see `nanofleet models list`",
        json_schema_extra=POSITIONAL,
    )
    worker: Optional[str] = Field(None, description="Only this worker (default: the fleet)")
    timeout: float = Field(
        600.0, gt=0, description="Seconds to wait for the broker, for the workers, and for a canary's frames"
    )
    canary: int = Field(0, ge=0, description="Workers to try it on first; 0 for all at once")
    canary_frames: int = Field(100, ge=1, description="Frames to judge the canaries by")
    min_agreement: float = Field(
        0.8, ge=0, le=1, description="Share of frames on which both models must agree"
    )
    max_slowdown: float = Field(2.0, gt=0, description="How many times longer the p95 of a frame may take")
    max_rejections: float = Field(
        0.01, ge=0, le=1, description="Share of frames that may be rejected beyond the share before"
    )
