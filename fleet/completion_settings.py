"""Settings of `nanofleet completion`."""

from __future__ import annotations

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
