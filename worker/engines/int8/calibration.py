"""Calibration: frames of the user's, by which the 256 numbers of 8 bits are spread over what occurs.

FOLDER ── as many as MOST, from all of it ──> their hash        the same folder: the same graph
                                          └─> decoders, fenced as those of frames are ──> pictures
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Iterator, List

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from wire.errors import SettingsError
from wire.picture.errors import Undecodable
from worker.decode.decoder import DEFAULT_LIMITS, decoder_for
from worker.decode.preprocessing import Preprocessing
from worker.models.weights import sha256_of

log = logging.getLogger(__name__)

#: Pictures to calibrate with: fewer show too little of what occurs; more only took longer.
LEAST, MOST = 32, 256
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


class Calibration(BaseModel):
    """Frames in a folder."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    #: Of the pictures that are taken.
    sha256: str

    def pictures(self, preprocessing: Preprocessing, most: int = MOST) -> NDArray[np.uint8]:
        """uint8 [N, H, W, C], as a model wants them; what cannot be decoded is left out.

        Args:
            preprocessing: the model's.
            most: how many, at most.

        Raises:
            SettingsError: too few can be.
            OSError: a folder cannot be read.
            NanofleetError: no decoder can start.
        """
        found = list(self._decoded(_spread(_files(self.folder), most), preprocessing))
        if len(found) < LEAST:
            raise SettingsError(
                f"--calibration {self.folder}: of its pictures {len(found)} can be decoded, and it takes "
                f"{LEAST} or more, of what your cameras see"
            )
        return np.stack(found)

    def _decoded(self, paths: List[Path], preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
        with decoder_for(preprocessing, DEFAULT_LIMITS) as decoder:
            for path in paths:
                try:
                    pixels = decoder.decode(path.read_bytes()).memory
                except (OSError, Undecodable) as error:
                    log.warning("%s: not taken to calibrate with: %s", path, error)
                    continue
                yield np.frombuffer(pixels, np.uint8).reshape(preprocessing.shape).copy()


def calibration_of(folder: Path) -> Calibration:
    """The frames of a folder, and of those below it.

    Raises:
        SettingsError: there is no such folder, it has too few pictures, or something in it cannot be read.
    """
    folder = folder.resolve()  # child processes run elsewhere
    try:
        if not folder.is_dir():
            raise SettingsError(f"--calibration {folder}: there is no such folder")
        files = _files(folder)
        if len(files) < LEAST:
            raise SettingsError(
                f"--calibration {folder}: {len(files)} pictures (*.jpg, *.jpeg, *.png, *.webp) lie in this "
                f"folder and below it, and it takes {LEAST} or more, of what your cameras see"
            )
        hashes = "\n".join(map(sha256_of, _spread(files, MOST)))
    except OSError as error:
        raise SettingsError(f"--calibration {error.filename}: {error.strerror}") from error
    sha256 = hashlib.sha256(hashes.encode()).hexdigest()
    return Calibration(folder=folder, sha256=sha256)


def _files(folder: Path) -> List[Path]:
    def fail(error: OSError) -> None:
        raise error

    found = (Path(parent, name) for parent, _, names in os.walk(folder, onerror=fail) for name in names)
    return sorted(path for path in found if path.suffix.lower() in _SUFFIXES and path.is_file())


def _spread(files: List[Path], most: int) -> List[Path]:
    """So many of them at most, at equal distances: names often follow time, and cameras."""
    count = min(most, len(files))
    return [files[number * len(files) // count] for number in range(count)]
