"""The engine: pixels in, probabilities out."""

from __future__ import annotations

from typing import List, Literal, NamedTuple, Protocol, Tuple

import numpy as np
from numpy.typing import NDArray

from worker.errors import NotANumber

#: The engines that `open_model` can be asked for; `auto` is the fastest that is installed for the device.
EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]
#: The libraries that run models, and the numbers that one may compute in.
Library = Literal["torch", "onnxruntime", "openvino"]
Numbers = Literal["float32", "float16", "bfloat16", "int8"]
#: What an engine may compute in, where the answers agree: `exact` is float32 alone, `half` 16 bits as well,
#: and `int8` 8 bits, too.
Precision = Literal["exact", "half", "int8"]

#: Reduced precision and quantisation may leave a probability so much below 0 or above 1.
ROUNDED = 0.02


class Engine(Protocol):
    """Runs a model on batches."""

    @property
    def name(self) -> str:
        """The library that runs the model: `torch`, `onnxruntime` or `openvino`."""

    @property
    def device(self) -> str:
        """The device that it runs on: `cpu`, `cuda`, `cuda:1`."""

    @property
    def why(self) -> str:
        """Why this one, on this device, in a few words."""

    @property
    def at_once(self) -> int:
        """Threads that may call `infer` at the same time, and should, when there is enough to do."""

    def warm_up(self) -> None:
        """Run the batches that are slow at their first use, so that no frame pays for it."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify a batch.

        Args:
            batch: uint8 [N, H, W, C] as the model's Preprocessing has it, 1 <= N <= max_batch.

        Returns:
            float32 [N, outputs], probabilities. Each row sums to 1, as exactly as the model's own arithmetic
            has it, unless each class stands by itself; a row may be no probabilities at all, where the
            model has answered that image with something else (see `top_k`).

        Raises:
            RuntimeError: the device failed, or ran out of memory.
        """


class Pick(NamedTuple):
    """An engine, its device, why these, and what it computes in."""

    engine: Library
    device: str
    why: str
    precision: Numbers = "float32"
    #: Images that OpenVINO runs together, at most: it compiles for several numbers, with memory for each.
    #: More than these gave less than 3% more frames.
    together: int = 8


def top_k(probabilities: NDArray[np.float32], k: int) -> List[Tuple[int, float]]:
    """The k most probable classes of float32 [classes], best first: (index, probability).

    All classes, if there are fewer than k; of equal ones, the lower index comes first.

    Raises:
        NotANumber: the model has answered with NaN or infinity, or with what is no probability.
    """
    low = float(probabilities.min())  # NaN, if one of them is
    # Sorting a thousand classes for the sake of five would take longer than all the rest.
    least = np.partition(probabilities, -k)[-k] if k < len(probabilities) else low
    candidates = (probabilities >= least).nonzero()[0]
    # In lists, because numpy takes longer over a few numbers than Python does.
    best = sorted(zip((-probabilities[candidates]).tolist(), candidates.tolist()))[:k]
    if not (low >= -ROUNDED and -best[0][0] <= 1 + ROUNDED):
        if not np.isfinite(probabilities).all():
            raise NotANumber("the model answers this image with NaN or infinity, not with probabilities")
        raise NotANumber(
            f"the model answers this image with numbers from {low:g} to {-best[0][0]:g}, which are no "
            "probabilities: --activation says what makes probabilities of them"
        )
    return [(index, 1.0 if negated < -1 else -negated if negated < 0 else 0.0) for negated, index in best]


class TwoClasses:
    """An engine of two classes by one of a single output: the probability of the second."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine of one output.

        Args:
            engine: float32 [N, 1].
        """
        self._engine = engine
        self.name, self.device, self.why = engine.name, engine.device, engine.why
        self.at_once = engine.at_once

    def warm_up(self) -> None:
        """See Engine."""
        self._engine.warm_up()

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine: float32 [N, 2]."""
        second = self._engine.infer(batch)
        return np.concatenate([1 - second, second], axis=1)
