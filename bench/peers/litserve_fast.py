"""LitServe with batching and nanofleet's engine; a batch is decoded in threads, on all cores.

python -m bench.peers.litserve_fast PORT MODEL WEIGHTS_DIR
"""

import concurrent.futures
import os
import sys
from typing import Any, List

import litserve
import numpy as np

from bench.peers.fast import MAX_BATCH, decode, open_engine


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """One process that decodes and classifies; two of them were slower on two cores."""

    def __init__(self, model: str, weights_dir: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=0.005)
        self.arguments = (model, weights_dir)

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model, self.engine = open_engine(*self.arguments)
        self.threads = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    # LitServe hands these two's annotations to FastAPI, which would check each answer by them.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """A form with an image: its bytes, to be decoded with the whole batch."""
        jpeg: bytes = request["image"].file.read()
        return jpeg

    def batch(self, inputs: List[bytes]) -> Any:
        """uint8 [N, crop, crop, 3]."""
        recipe = self.model.preprocessing
        return np.stack(list(self.threads.map(lambda jpeg: decode(jpeg, recipe), inputs)))

    def predict(self, batch: Any) -> Any:
        """Classify."""
        return self.engine.infer(batch)

    def unbatch(self, output: Any) -> Any:
        """float32 [classes] of each image."""
        return list(output)

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """The answer, as JSON."""
        index = int(output.argmax())
        return {"label": self.model.classes[index], "confidence": float(output[index])}


if __name__ == "__main__":
    port, *arguments = sys.argv[1:]
    server = litserve.LitServer(Classifier(*arguments), accelerator="auto", timeout=60, fast_queue=True)
    server.run(port=int(port), host="127.0.0.1", generate_client_file=False, log_level="warning")
