"""Settings of `nanofleet demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from pydantic import Field

from wire.broker import BrokerSettings


class DemoSettings(BrokerSettings):
    """Show the whole fleet at work on this machine: broker, workers, publisher, real photos.

    nanofleet demo
    nanofleet demo --workers 2 --keep
    nanofleet demo --images ~/Pictures

    It ends by itself with a table of the answers. The exit code is 0 if all were right.
    """

    broker: str = Field(
        "embedded", description="A broker's URL; `embedded` starts one for the demo, on free ports"
    )
    images: Optional[Path] = Field(
        None, description="Folder of your own images (default: scikit-image's photos)"
    )
    workers: int = Field(1, ge=1, le=16, description="Worker processes")
    model: str = Field("efficientnet_lite0", description="Model to run")
    keep: bool = Field(False, description="Keep the fleet running, with frames flowing, until Ctrl-C")
