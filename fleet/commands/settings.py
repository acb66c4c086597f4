"""Settings of `nanofleet settings` and `nanofleet completion`."""

from __future__ import annotations

from typing import List

from pydantic import Field
from typing_extensions import Literal

from wire.settings import POSITIONAL, Settings


class CompletionSettings(Settings):
    """Print a script with which a shell completes nanofleet's commands and flags.

    eval "$(nanofleet completion bash)"                   in ~/.bashrc
    eval "$(nanofleet completion zsh)"                    in ~/.zshrc, after compinit
    nanofleet completion fish > ~/.config/fish/completions/nanofleet.fish
    """

    shell: Literal["bash", "zsh", "fish"] = Field(
        description="bash, zsh or fish", json_schema_extra=POSITIONAL
    )


class ExampleSettings(Settings):
    """Print all settings of a command as a TOML file for its --config, each with its default, commented out.

    nanofleet settings worker > fleet.toml
    nanofleet settings models use

    What all commands share is at its top, the rest in the command's section: one file may serve them all.
    """

    words: List[str] = Field(description="The command, as worker or models use", json_schema_extra=POSITIONAL)
