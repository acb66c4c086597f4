"""The model that candidates are tried with, and where: an ONNX file pinned to its bytes, or an export."""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from pydantic import BaseModel, ConfigDict

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, Pick
from worker.engines.export_engine import ExportEngine
from worker.engines.int8.graph import Int8
from worker.engines.onnx.files import files_of_onnx
from worker.engines.without_torch import NeedsTorch
from worker.models.info import Model


class Kind(NamedTuple):
    """What a model is fed with, and how its answers are read."""

    #: Height, width and channels of an image.
    shape: Tuple[int, int, int]
    #: The probability from which on a label is seen; None if only one can be.
    seen_from: Optional[float]


class Subject(BaseModel):
    """What a process needs to open a model with any candidate."""

    model_config = ConfigDict(frozen=True)

    choice: ModelChoice
    #: Where it is to run: `cpu`, `cuda` or `cuda:N`.
    device: str = "cpu"
    #: Of the file, or of the weights that the export was made from.
    sha256: str
    #: The export, and of which kind it is; None for an ONNX file, which shows that itself.
    export: Optional[Path] = None
    shape: Tuple[int, int, int] = (0, 0, 0)
    seen_from: Optional[float] = None
    #: The export in int8, where that may be tried.
    int8: Optional[Int8] = None

    @property
    def name(self) -> str:
        """A name to know it by."""
        return (self.export or Path(self.choice.model)).stem

    @property
    def files(self) -> List[Path]:
        """The files that the graph lies in."""
        return [self.export] if self.export else files_of_onnx(Path(self.choice.model))

    def open(self, pick: Pick, max_batch: int, weights_dir: Path) -> Tuple[Kind, Engine]:
        """Open it, and return of which kind it is, and its engine.

        Raises:
            NanofleetError: the library cannot run it.
        """
        if pick.precision == "int8" and self.int8 is None:
            raise SettingsError("is not tried, because an ONNX file is quantised by who has made it")
        if pick.engine == "torch":
            return self._open_torch(pick, max_batch, weights_dir)
        if self.export:
            graph = self.int8.opened() if self.int8 and pick.precision == "int8" else self.export
            kind = self._kind(self.shape, self.seen_from)
            return kind, ExportEngine(graph, self.shape, pick, max_batch, weights_dir)
        from worker.engines.onnx.file import open_onnx

        model, engine = open_onnx(self.choice, pick, max_batch, weights_dir)
        return self._kind_of(model), engine

    def _open_torch(self, pick: Pick, max_batch: int, weights_dir: Path) -> Tuple[Kind, Engine]:
        from worker.engines.pytorch.opening import open_torch

        try:
            model, engine = open_torch(self.choice, pick, max_batch, weights_dir)
        except NeedsTorch as error:  # half upgraded, it may be whole the next time
            raise NanofleetError(error.fact) from error
        return self._kind_of(model), engine

    def _kind_of(self, model: Model) -> Kind:
        return self._kind(model.preprocessing.shape, model.seen_from)

    def _kind(self, shape: Tuple[int, int, int], seen_from: Optional[float]) -> Kind:
        if seen_from is None or self.choice.threshold is None:
            return Kind(shape, seen_from)
        return Kind(shape, self.choice.threshold)
