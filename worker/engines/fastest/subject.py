"""The model that candidates are tried with: an ONNX file that is pinned to its bytes, or an export."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

from pydantic import BaseModel, ConfigDict

from wire.model_choice import ModelChoice
from worker.engines.base import Engine, Pick
from worker.engines.export_engine import ExportEngine
from worker.engines.onnx.files import files_of_onnx


class Subject(BaseModel):
    """What a process needs to open a model with any candidate."""

    model_config = ConfigDict(frozen=True)

    choice: ModelChoice
    #: Of the file, or of the weights that the export was made from.
    sha256: str
    #: The export, and its images' height, width and channels; None for an ONNX file.
    export: Optional[Path] = None
    shape: Tuple[int, int, int] = (0, 0, 0)

    @property
    def name(self) -> str:
        """A name to know it by."""
        return (self.export or Path(self.choice.model)).stem

    @property
    def files(self) -> List[Path]:
        """The files that the graph lies in."""
        return [self.export] if self.export else files_of_onnx(Path(self.choice.model))

    def open(self, pick: Pick, max_batch: int, weights_dir: Path) -> Tuple[Tuple[int, int, int], Engine]:
        """Open it, and return the shape of its images and its engine.

        Raises:
            NanofleetError: the library cannot run it.
        """
        if self.export:
            return self.shape, ExportEngine(self.export, self.shape, pick, max_batch, weights_dir)
        from worker.engines.onnx.file import open_onnx

        model, engine = open_onnx(self.choice, pick, max_batch, weights_dir)
        return model.preprocessing.shape, engine
