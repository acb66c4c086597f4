"""What tests of a shared engine share: its model, and pictures for it."""

from __future__ import annotations

import threading
from typing import Any, Callable, List

import numpy as np
from numpy.typing import NDArray

from tests.worker.serving.small import SIDE
from wire.model_choice import ModelChoice

MAX_BATCH, STALL_TIMEOUT = 8, float("inf")
CHOICE = ModelChoice(model="small")


def pixels(size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 256, (size, SIDE, SIDE, 3)).astype(np.uint8)


def background(work: Callable[[], Any]) -> List[Any]:
    """Run something in a thread; what it returns comes into the list."""
    found: List[Any] = []
    threading.Thread(target=lambda: found.append(work()), daemon=True).start()
    return found
