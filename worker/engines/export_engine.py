"""The engine of exports: one graph from uint8 pixels to probabilities.

uint8 [N, H, W, 3] -> normalise, model, softmax, all in the graph -> float32 [N, classes]
"""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
from numpy.typing import NDArray

from worker.engines.base import Pick
from worker.engines.sessions import batches_at_once, open_session, size_of, sizes, together, warm, why


class ExportEngine:
    """See `worker.engines.base.Engine`. Runs what `worker.engines.exports.cache` has exported."""

    def __init__(
        self, path: Path, shape: Tuple[int, int, int], pick: Pick, max_batch: int, weights_dir: Path
    ) -> None:
        """Open a session.

        Args:
            path: uint8 [N, H, W, C] -> float32 [N, outputs], probabilities.
            shape: height, width and channels of the pixels.
            pick: the library, the device and the precision, and why.
            max_batch: frames in a batch, at most.
            weights_dir: where TensorRT keeps the engines that it builds.

        Raises:
            SettingsError: the file cannot be loaded.
        """
        self.name = pick.engine
        self.device = pick.device
        self.at_once = batches_at_once(pick.device)
        self._most = together(pick, max_batch)
        self._session = open_session(path, pick, weights_dir, most=self._most)
        self.why = why(pick, self._session)
        self._input = self._session.get_inputs()[0].name
        self._shape = shape
        #: Batches run as the next larger of these, if any: on CUDA the first one of a size takes seconds.
        self._sizes = sizes(max_batch) if pick.device != "cpu" else []

    def warm_up(self) -> None:
        """See Engine."""
        warm(self, self._session, self._shape, self._most)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See Engine."""
        parts = [batch[start : start + self._most] for start in range(0, len(batch), self._most)]
        answers = [self._run(part) for part in parts]
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        size = size_of(count, self._sizes)
        if size > count:
            images = np.concatenate([images, np.zeros((size - count, *self._shape), np.uint8)])
        answers: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        return answers[:count]
