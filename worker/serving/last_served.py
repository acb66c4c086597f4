"""The last command's choice that was served, noted on disk: it serves where the next cannot be followed.

It is a help, and no more: a disk that is full or read-only costs a warning, and no model.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional

from pydantic import ValidationError

from wire.files import write_whole
from wire.model_choice import ModelChoice

log = logging.getLogger(__name__)


class LastServed:
    """One worker's note."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Optional[ModelChoice]:
        """The choice in it; None if there is none that can be read."""
        try:
            return ModelChoice.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None  # there has been none, or a release before this one has written it

    def keep(self, choice: ModelChoice) -> None:
        """Note a choice in the place of the former one."""
        try:
            write_whole(self._path, choice.model_dump_json().encode(), lasting=False)
        except OSError as error:
            log.warning("%s is not noted in %s, for the next start: %s", choice.model, self._path, error)

    def forget(self) -> None:
        """No command is in force any more."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s cannot be removed: %s", self._path, error)
