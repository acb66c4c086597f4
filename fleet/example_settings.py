"""Settings of `nanofleet settings`."""

from __future__ import annotations

from typing import List

from pydantic import Field

from wire.settings import POSITIONAL, Settings


class ExampleSettings(Settings):
    """Print all settings of a command as a TOML file for its --config, each with its default, commented out.

    nanofleet settings worker > fleet.toml
    nanofleet settings models use

    What all commands share is at its top, the rest in the command's section: one file may serve them all.
    """

    words: List[str] = Field(description="The command, as worker or models use", json_schema_extra=POSITIONAL)
