"""The settings of an observer, whether it runs inside a worker or by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from pydantic import BaseModel, Field, field_validator

from wire.lengths import MAX_TOPIC


class DiscoverySettings(BaseModel):
    """Where Home Assistant reads what is announced to it."""

    discovery_prefix: str = Field(
        "homeassistant", max_length=MAX_TOPIC, description="Home Assistant's discovery prefix"
    )

    @field_validator("discovery_prefix")
    @classmethod
    def _prefix_is_plain(cls, prefix: str) -> str:
        if not prefix or set(prefix) & set("+#\0") or prefix.startswith(("/", "$")) or prefix.endswith("/"):
            raise ValueError(f"a plain topic such as homeassistant, not {prefix!r}")
        return prefix


class ObserverSettings(DiscoverySettings):
    """What it makes of the cameras, and whom it announces them to."""

    silent_after: float = Field(
        300.0,
        ge=0,
        description="Seconds without an answer after which a camera is silent; 0: never. A camera that sends "
        "on motion alone needs more; each may have its own, see `nanofleet cameras set`",
    )
    cameras: Optional[Path] = Field(
        None,
        description='TOML file with a table of settings for each camera: [door], name = "Front door". '
        "Settings that `nanofleet cameras set` has published for a camera replace its whole table",
    )
    home_assistant: bool = Field(
        True, description="Announce cameras and workers to Home Assistant, by MQTT discovery"
    )
