"""What an engine is: pixels in, probabilities out."""

from __future__ import annotations

from typing import List, Literal, NamedTuple, Protocol, Tuple

import numpy as np
from numpy.typing import NDArray

from worker.errors import NotANumber

#: What `open_model` can be asked for; `auto` is the fastest that is installed for the device.
EngineName = Literal["auto", "torch", "onnxruntime"]


class Engine(Protocol):
    """Runs a model on batches."""

    @property
    def name(self) -> str:
        """What runs the model: `torch` or `onnxruntime`."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda`, `cuda:1`."""

    @property
    def why(self) -> str:
        """Why this one, on this device, in a few words."""

    @property
    def at_once(self) -> int:
        """Threads that may call `infer` at the same time, and should, when there is enough to do."""

    def warm_up(self) -> None:
        """Run the smallest and the largest batch once, so that no frame pays for a first use."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify a batch.

        Args:
            batch: uint8 [N, H, W, C] as the model's Preprocessing has it, 1 <= N <= max_batch.

        Returns:
            float32 [N, outputs], probabilities. Each row sums to 1, unless the model's activation is a
            sigmoid, or it has answered that image with something else than numbers.

        Raises:
            RuntimeError: the device failed, or ran out of memory.
        """


class Pick(NamedTuple):
    """An engine, its device, and why."""

    engine: Literal["torch", "onnxruntime"]
    device: str
    why: str


def top_k(probabilities: NDArray[np.float32], k: int) -> List[Tuple[int, float]]:
    """The k most probable classes of float32 [classes], best first: (index, probability).

    All classes, if there are fewer than k; of equal ones, the lower index comes first.

    Raises:
        NotANumber: the model has answered with NaN or infinity.
    """
    if not np.isfinite(probabilities).all():
        raise NotANumber("the model answers this image with NaN or infinity, not with probabilities")
    best = np.argsort(-probabilities, kind="stable")[:k]
    return [(int(index), float(probabilities[index])) for index in best]
