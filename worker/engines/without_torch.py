"""The way out where PyTorch is missing or does not work: a model is exported where it does."""

from __future__ import annotations

import re
import shlex
from typing import Iterable, Optional

from wire.errors import SettingsError
from wire.install import how_to_install
from wire.model_choice import ModelChoice
from worker.models.info import ALIASES, EFFICIENTNET_LITE0


class NeedsTorch(SettingsError):
    """Only PyTorch can load a model, and there is none."""

    def __init__(self, choice: ModelChoice, fact: str) -> None:
        """Say so, and what a worker's user can do.

        Args:
            choice: the model.
            fact: what needs PyTorch, and why there is none: a sentence without its full stop.
        """
        super().__init__(
            f"{fact}. Where PyTorch is, `{export_command(choice)}` writes a file that needs none: give that "
            f"as --model here. To have PyTorch here: {how_to_install('worker')}"
        )
        self.fact = fact


def export_command(choice: ModelChoice) -> str:
    """The command that exports a model with the flags that it was given here, for a shell."""
    words = ["nanofleet", "models", "export", choice.model, "FILE.onnx"]
    for name in ModelChoice.model_fields:
        value = getattr(choice, name)
        if name != "model" and value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return " ".join(map(shlex.quote, words))


def meant_by(name: str, exported: Iterable[str]) -> Optional[str]:
    """The model that is meant by a name that differs from its own only in signs, as mobilenet-v2's.

    Args:
        name: what was given.
        exported: the names that have an export here; PyTorch, which knows all of them, is not to be asked.
    """
    known = {EFFICIENTNET_LITE0, *ALIASES, *ALIASES.values(), *exported}
    if name.lower() in known:
        return None
    return next((each for each in sorted(known) if _letters(each) == _letters(name)), None)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
