"""mosec as its example of an image model has it: stages that preprocess, infer in batches of 16, and answer.

python -m bench.peers.mosec_eager --port PORT …      with MODEL and WEIGHTS_DIR in the environment
"""

from __future__ import annotations

import io
import json
import os
from typing import Any, List, Tuple

import numpy as np
import torch
from mosec import Server, Worker
from numpy.typing import NDArray
from PIL import Image

from bench.peers.usual import DEVICE, load_module, transform_of


class Preprocess(Worker):
    """A JPEG, the request's body, to float32 [3, crop, crop]."""

    def __init__(self) -> None:
        super().__init__()
        model, _ = load_module(os.environ["MODEL"], os.environ["WEIGHTS_DIR"])
        self.transform = transform_of(model.preprocessing)

    def deserialize(self, data: bytes) -> bytes:
        """The body is the image."""
        return data

    def forward(self, data: bytes) -> NDArray[np.float32]:
        """Decode."""
        pixels: NDArray[np.float32] = self.transform(Image.open(io.BytesIO(data)).convert("RGB")).numpy()
        return pixels


class Inference(Worker):
    """A batch to its classes."""

    def __init__(self) -> None:
        super().__init__()
        _, self.module = load_module(os.environ["MODEL"], os.environ["WEIGHTS_DIR"])

    def forward(self, data: List[NDArray[np.float32]]) -> List[Tuple[int, float]]:
        """Classify."""
        with torch.no_grad():
            batch = torch.stack([torch.tensor(pixels, device=DEVICE) for pixels in data])
            confidences, indices = self.module(batch).softmax(1).max(1)
        return list(zip(indices.tolist(), confidences.tolist()))


class Postprocess(Worker):
    """A class to its label."""

    def __init__(self) -> None:
        super().__init__()
        self.model, _ = load_module(os.environ["MODEL"], os.environ["WEIGHTS_DIR"])

    def forward(self, data: Tuple[int, float]) -> Any:
        """Name it."""
        index, confidence = data
        return {"label": self.model.classes[index], "confidence": confidence}

    def serialize(self, data: Any) -> bytes:
        """The answer, as JSON."""
        return json.dumps(data).encode()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Preprocess, num=4)
    server.append_worker(Inference, num=2, max_batch_size=16)
    server.append_worker(Postprocess)
    server.run()
