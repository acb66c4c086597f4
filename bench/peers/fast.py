"""What the fast peers are given: nanofleet's own decoding and engine, so that serving is what is compared.

Both are faster than what the peers' documentation shows, Pillow with torchvision's transforms before PyTorch.
"""

from __future__ import annotations

import concurrent.futures
import os
from pathlib import Path
from typing import List, Tuple

import numpy as np
from numpy.typing import NDArray

import worker.engines.sessions
from bench.decoding import decode
from bench.peers.setting import given
from wire.model_choice import ModelChoice
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine
from worker.engines.select import open_model
from worker.models.info import Model

SETTING = given()


def share_cores() -> None:
    """Have an engine that is opened from now on run a batch in as many threads as the setting says."""
    # It divides the cores among its batches at once; a peer's process runs one at a time.
    worker.engines.sessions.CPU_BATCHES = max(1, len(os.sched_getaffinity(0)) // SETTING.threads)


def open_engine(model: str, weights_dir: str) -> Tuple[Model, Engine]:
    """The engine that nanofleet's worker would take: uint8 [N, crop, crop, 3] -> float32 [N, classes]."""
    share_cores()
    choice = ModelChoice(model=model)
    opened, engine = open_model(
        choice, engine="auto", max_batch=SETTING.batch, weights_dir=Path(weights_dir), race=True
    )
    engine.warm_up()
    return opened, engine


class Decoders:
    """As many threads as a process's engine has."""

    def __init__(self, recipe: Preprocessing) -> None:
        self._recipe = recipe
        self.pool = concurrent.futures.ThreadPoolExecutor(SETTING.threads)

    def decode(self, jpegs: List[bytes]) -> NDArray[np.uint8]:
        """uint8 [N, H, W, C]."""
        one_by_one = map if SETTING.threads == 1 else self.pool.map
        return np.stack(list(one_by_one(self._decode, jpegs)))

    def _decode(self, jpeg: bytes) -> NDArray[np.uint8]:
        return decode(jpeg, self._recipe)
