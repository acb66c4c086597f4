"""What the fast peers are given: nanofleet's own decode and engine, so that serving is what is compared.

Both are faster than what the peers' documentation shows, Pillow with torchvision's transforms before PyTorch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
from numpy.typing import NDArray

import worker.engines.onnx_engine
from wire.model_choice import ModelChoice
from worker.decode.image import decode as decode_to
from worker.decode.preprocessing import Preprocessing
from worker.engines.base import Engine
from worker.engines.select import best_batch, open_model
from worker.models.info import Model

#: On a GPU as much as nanofleet's worker takes.
MAX_BATCH = max(8, best_batch(ModelChoice(), "auto", "auto"))


def open_engine(model: str, weights_dir: str) -> Tuple[Model, Engine]:
    """The engine that nanofleet's worker would take: uint8 [N, crop, crop, 3] -> float32 [N, classes]."""
    # They run one batch at a time, which then has to have all cores.
    worker.engines.onnx_engine.CPU_BATCHES = 1
    choice = ModelChoice(model=model)
    opened, engine = open_model(choice, engine="auto", max_batch=MAX_BATCH, weights_dir=Path(weights_dir))
    engine.warm_up()
    return opened, engine


def decode(jpeg: bytes, recipe: Preprocessing) -> NDArray[np.uint8]:
    """uint8 [H, W, C], as the recipe has it."""
    pixels = decode_to(jpeg, recipe).pixels
    return np.frombuffer(pixels, np.uint8).reshape(recipe.shape)
