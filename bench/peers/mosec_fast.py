"""mosec with our engine: decoding in a stage of its own or before each batch, and dynamic batches.

python -m bench.peers.mosec_fast --port PORT …      with MODEL and WEIGHTS_DIR in the environment,
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

from bench.decoding import decode
from bench.peers.fast import SETTING, Decoders, open_engine
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
    """Images that are decoded, to their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.engine = open_engine(os.environ["MODEL"], os.environ["WEIGHTS_DIR"])

    def forward(self, data: List[NDArray[np.uint8]]) -> List[Dict[str, Any]]:
        """Classify."""
        return self.labels_of(np.stack(data))

    def labels_of(self, images: NDArray[np.uint8]) -> List[Dict[str, Any]]:
        """Classify a batch."""
        rows = self.engine.infer(images)
        return [
            {"label": self.model.classes[int(row.argmax())], "confidence": float(row.max())} for row in rows
        ]

    def serialize(self, data: Dict[str, Any]) -> bytes:
        """The answer, as JSON."""
        return json.dumps(data).encode()


class DecodeAndInfer(Infer):
    """JPEGs, the requests' bodies, to their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.decoders = Decoders(self.model.preprocessing)

    def deserialize(self, data: bytes) -> bytes:
        """The body is the image."""
        return data

    def forward(self, data: List[bytes]) -> List[Dict[str, Any]]:  # type: ignore[override]
        """Decode and classify."""
        return self.labels_of(self.decoders.decode(data))


if __name__ == "__main__":
    server = Server()
    if SETTING.before:
        server.append_worker(Decode, num=SETTING.before)
    last = Infer if SETTING.before else DecodeAndInfer
    server.append_worker(last, num=SETTING.workers, max_batch_size=SETTING.batch, max_wait_time=5)
    server.run()
