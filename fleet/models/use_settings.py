"""Settings of `nanofleet models use` and `nanofleet models reset`."""

from __future__ import annotations

from typing import Optional

from pydantic import Field

from wire.broker import BrokerSettings
from wire.model_choice import ModelChoice
from wire.settings import POSITIONAL


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
    keeps its model and says why. Files are looked for in each worker's --weights-dir. The command stays with
    the broker: workers that come later follow it, until `nanofleet models reset`.

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
        0.8, ge=0, le=1, description="Share of frames on which both models must say the same"
    )
    max_slowdown: float = Field(2.0, gt=0, description="How many times longer the p95 of a frame may take")
    max_rejections: float = Field(
        0.01, ge=0, le=1, description="Share of frames that may be rejected beyond the share before"
    )
