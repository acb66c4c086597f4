"""mosec: a stage of decoders, a stage that infers in dynamic batches, as its ResNet-50 example has them.

python -m bench.peers.mosec_server --port PORT …      with DECODERS, MODEL and WEIGHTS_DIR in the environment,
because mosec's processes import this module anew, and its command line is mosec's
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from mosec import Server, Worker
from numpy.typing import NDArray

from bench.peers.fast import MAX_BATCH, decode, open_engine
from wire.model_choice import ModelChoice
from worker.engines.exports.cache import exported


class Decode(Worker):
    """A JPEG, the request's body, to uint8 [crop, crop, 3]."""

    def __init__(self) -> None:
        super().__init__()
        model, _ = exported(ModelChoice(model=os.environ["MODEL"]), Path(os.environ["WEIGHTS_DIR"]))
        self.recipe = model.preprocessing

    def deserialize(self, data: bytes) -> bytes:
        """The body is the image."""
        return data

    def forward(self, data: bytes) -> NDArray[np.uint8]:
        """Decode."""
        return decode(data, self.recipe)


class Infer(Worker):
    """Up to 8 images to their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.engine = open_engine(os.environ["MODEL"], os.environ["WEIGHTS_DIR"])

    def forward(self, data: List[NDArray[np.uint8]]) -> List[Dict[str, Any]]:
        """Classify."""
        rows = self.engine.infer(np.stack(data))
        return [
            {"label": self.model.classes[int(row.argmax())], "confidence": float(row.max())} for row in rows
        ]

    def serialize(self, data: Dict[str, Any]) -> bytes:
        """The answer, as JSON."""
        return json.dumps(data).encode()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=int(os.environ["DECODERS"]))
    server.append_worker(Infer, num=1, max_batch_size=MAX_BATCH, max_wait_time=5)
    server.run()
