"""Settings of `nanofleet settings`."""

from __future__ import annotations

from typing import List

from pydantic import Field

from wire.settings import POSITIONAL, Settings


class ExampleSettings(Settings):
    """Print all settings of a command as a TOML file for its --config, each with its default, commented out.

    nanofleet settings worker > worker.toml
    nanofleet settings models use
    """

    words: List[str] = Field(description="The command, as worker or models use", json_schema_extra=POSITIONAL)
