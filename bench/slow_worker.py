"""A nanofleet worker that takes so many seconds more for each frame, without using a core meanwhile.

python -m bench.slow_worker SECONDS worker --broker …
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray

from fleet.cli import main
from worker.engines.onnx.file_engine import OnnxFileEngine


def slow_down(seconds: float) -> None:
    """Have the engine of an ONNX file take its time, one batch after the other."""
    infer, turn = OnnxFileEngine.infer, threading.Lock()

    def infer_slowly(self: OnnxFileEngine, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with turn:
            time.sleep(seconds * len(batch))
            return infer(self, batch)

    OnnxFileEngine.infer = infer_slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    slow_down(float(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
