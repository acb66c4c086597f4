"""Settings of `nanofleet observe`."""

from __future__ import annotations

import re
import socket
from typing import Optional

from pydantic import Field, field_validator

from fleet.observer.task import MOST_INTERVAL
from wire.broker import BrokerSettings
from wire.observer_settings import ObserverSettings
from wire.settings import LogLevel
from wire.topics import ID


class ObserveSettings(BrokerSettings, ObserverSettings):
    """Keep each camera's state, for Home Assistant and for all who do not read every frame.

    nanofleet observe --broker mqtt://broker.lan
    nanofleet observe --cameras cameras.toml --silent-after 900

    Each worker does this as well, unless it runs with --no-observe; one by itself is for a machine without a
    model. Of all that run, one is active, and another takes its place when it is gone for three status
    intervals. States are retained on ROOT/cameras/CAMERA, and published again when somebody publishes
    anything on ROOT/control/announce. SIGTERM or Ctrl-C: let another go on, leave.
    """

    log_level: LogLevel = Field(
        "info", description="Least urgent lines of the log; debug shows those of libraries as well"
    )
    observer_id: Optional[str] = Field(
        None, description="Name of this observer (default: the host's name with -observer)"
    )
    status_interval: float = Field(
        10.0,
        gt=0,
        le=MOST_INTERVAL,
        description="Seconds between two statuses by which the others see that it is there, at most 20",
    )

    @field_validator("observer_id")
    @classmethod
    def _observer_id_is_an_id(cls, observer_id: Optional[str]) -> Optional[str]:
        if observer_id is not None and not ID.fullmatch(observer_id):
            raise ValueError(f"1 to 64 letters, digits, - and _, not {observer_id!r}")
        return observer_id

    @property
    def name(self) -> str:
        """The observer's id."""
        host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:50]
        return self.observer_id or f"{host}-observer"
