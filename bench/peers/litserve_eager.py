"""LitServe with batching, as its documentation shows it: Pillow, torchvision's transforms, the eager module.

python -m bench.peers.litserve_eager PORT MODEL WEIGHTS_DIR
"""

import io
import sys
from typing import Any, List

import litserve
import torch
from PIL import Image

from bench.peers.litserve_body import Body
from bench.peers.usual import DEVICE, load_module, transform_of


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """One process that decodes and classifies, in batches of up to 8."""

    def __init__(self, model: str, weights_dir: str) -> None:
        super().__init__(max_batch_size=8, batch_timeout=0.01)
        self.arguments = (model, weights_dir)

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model, self.module = load_module(*self.arguments)
        self.transform = transform_of(self.model.preprocessing)

    def decode_request(self, request: Body):  # type: ignore[no-untyped-def]
        """A JPEG, to float32 [3, crop, crop]."""
        return self.transform(Image.open(io.BytesIO(request)).convert("RGB"))

    def predict(self, batch: torch.Tensor) -> List[Any]:
        """Classify float32 [N, 3, crop, crop]."""
        with torch.inference_mode():
            confidences, indices = self.module(batch.to(DEVICE)).softmax(1).max(1)
        return list(zip(indices.tolist(), confidences.tolist()))

    # LitServe hands its annotations to FastAPI, which would check each answer by them.
    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """The answer, as JSON."""
        index, confidence = output
        return {"label": self.model.classes[index], "confidence": confidence}


if __name__ == "__main__":
    port, *arguments = sys.argv[1:]
    server = litserve.LitServer(Classifier(*arguments), accelerator="auto", timeout=60, fast_queue=True)
    server.run(port=int(port), host="127.0.0.1", generate_client_file=False, log_level="warning")
