"""An export's graph in int8, kept beside it: made once, by a child process.

export, calibration, releases ── key ──> EXPORT-KEY.int8.onnx    there: used as it is
                                         └── not there: process ──> .EXPORT-KEY.int8.onnx.part/ ──> whole

It is a candidate in a race like others: where it cannot be made, that is said of it, and another one serves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Optional

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from wire.errors import NanofleetError, SettingsError
from wire.files import sync
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.engines.child import CRASHES, how_it_ended
from worker.engines.exports.folder import made_at, made_by_child, out_of_reach
from worker.engines.installed import releases
from worker.engines.int8.calibration import MOST, Calibration
from worker.models.info import Model
from worker.models.weights import lock, remove_long_unused

log = logging.getLogger(__name__)

#: Of how it is quantised: a new number makes all again.
FORMAT = 1
#: Free bytes of the disk that it takes for each byte of the export. It took 2.3; without them onnxruntime
#: writes half a graph, and reports the next step's error.
DISK = 3


class CannotQuantise(NanofleetError):
    """An export cannot be brought into int8; `passing` where that may be otherwise the next time."""

    def __init__(self, why: str, *, passing: bool) -> None:
        super().__init__(f"cannot be made: {why}")
        self.passing = passing


class Int8(BaseModel):
    """What a graph in int8 is made from, and where it lies."""

    model_config = ConfigDict(frozen=True)

    #: What the model is called.
    name: str
    export: Path
    preprocessing: Preprocessing
    calibration: Calibration
    path: Path
    #: Whether nobody else may have made it.
    pinned: bool
    #: Why there is none, and whether that may be otherwise the next time.
    failed: str = ""
    passing: bool = False

    def prepared(self, stop: Optional[threading.Event]) -> Int8:
        """Made, or with what keeps it from being made.

        Raises:
            SettingsError: too few of the pictures can be decoded.
            NanofleetError: `stop` was set.
        """
        try:
            return self.model_copy(update={"path": self.made(stop)})
        except CannotQuantise as error:
            log.warning("%s: its graph in int8 %s", self.name, error)
            return self.model_copy(update={"failed": str(error), "passing": error.passing})

    def made(self, stop: Optional[threading.Event]) -> Path:
        """The graph, made now if it is not there.

        Raises:
            CannotQuantise: it cannot be.
            SettingsError: too few of the pictures can be decoded.
            NanofleetError: `stop` was set.
        """
        path = out_of_reach(self.path) if self.pinned else self.path
        try:
            if not path.exists():
                path, _ = made_at(path, self.pinned, lambda path: self._make_once(path, stop))
        except OSError as error:
            raise CannotQuantise(f"{path}: {error.strerror or error}", passing=True) from error
        with contextlib.suppress(OSError):  # another user's: that one sees to it
            os.utime(path)
        return path

    def pictures(self, most: int = MOST) -> NDArray[np.uint8]:
        """Frames as the model wants them; see `Calibration.pictures`."""
        return self.calibration.pictures(self.preprocessing, most)

    def opened(self) -> Path:
        """The graph that `prepared` has made.

        Raises:
            SettingsError: there is none.
            NanofleetError: there may be one the next time.
        """
        if self.failed:
            raise (NanofleetError if self.passing else SettingsError)(self.failed)
        return self.path

    def _make_once(self, path: Path, stop: Optional[threading.Event]) -> None:
        with lock(path):
            if path.exists():  # another worker may just have made it
                return
            self._make(path, stop)
            remove_long_unused(path.parent, "*.int8.onnx")

    def _make(self, path: Path, stop: Optional[threading.Event]) -> None:
        log.info(
            "%s: quantising it to int8 by up to %d pictures of %s: this happens once",
            *(self.name, MOST, self.calibration.folder),
        )
        _check_disk(path.parent, self.export)
        given = [self.model_dump_json()]
        with made_by_child(path, "worker.engines.int8.process", given, stop) as (graph, reply):
            if reply.get("made"):
                sync(graph)
                graph.replace(path)
                sync(path.parent)
                return
        if reply.get("kind") == "settings":
            raise SettingsError(reply["error"])
        code = reply["exit_code"]
        why = reply.get("error") or f"the process that does it {how_it_ended(code)}"
        raise CannotQuantise(why, passing=reply.get("kind") != "library" and -code not in CRASHES)


def _check_disk(folder: Path, export: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, DISK * export.stat().st_size
    if free < needed:
        why = f"it takes {needed >> 20} MiB of disk in {folder}, of which {free >> 20} are free"
        raise CannotQuantise(why, passing=True)


def int8_of(choice: ModelChoice, model: Model, export: Path, calibration: Calibration) -> Int8:
    """The graph of an export in int8, which need not be there yet.

    Args:
        choice: which model.
        model: that model.
        export: its export.
        calibration: what it is calibrated with.
    """
    ingredients = [FORMAT, model.sha256, export.stem, export.stat().st_size, calibration.sha256, releases()]
    digest = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()
    path = export.with_name(f"{export.stem}-{digest[:16]}.int8.onnx")
    return Int8(
        name=choice.model,
        export=export,
        preprocessing=model.preprocessing,
        calibration=calibration,
        path=path,
        pinned=choice.sha256 is not None,
    )
