"""LitServe with batching and our engine, in whose threads a batch is decoded.

python -m bench.peers.litserve_fast PORT MODEL WEIGHTS_DIR
"""

import sys
from typing import Any, List

import litserve

from bench.peers.fast import SETTING, Decoders, open_engine
from bench.peers.litserve_body import Body


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """A process that decodes and classifies."""

    def __init__(self, model: str, weights_dir: str) -> None:
        super().__init__(max_batch_size=SETTING.batch, batch_timeout=0.005)
        self.arguments = (model, weights_dir)

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model, self.engine = open_engine(*self.arguments)
        self.decoders = Decoders(self.model.preprocessing)

    def decode_request(self, request: Body):  # type: ignore[no-untyped-def]
        """A JPEG, to be decoded with the whole batch."""
        return request

    def batch(self, inputs: List[bytes]) -> Any:
        """uint8 [N, crop, crop, 3]."""
        return self.decoders.decode(inputs)

    def predict(self, batch: Any) -> Any:
        """Classify."""
        return self.engine.infer(batch)

    def unbatch(self, output: Any) -> Any:
        """float32 [classes] of each image."""
        return list(output)

    # LitServe hands its annotations to FastAPI, which would check each answer by them.
    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """The answer, as JSON."""
        index = int(output.argmax())
        return {"label": self.model.classes[index], "confidence": float(output[index])}


if __name__ == "__main__":
    port, *arguments = sys.argv[1:]
    server = litserve.LitServer(
        Classifier(*arguments),
        accelerator="auto",
        workers_per_device=SETTING.workers,
        timeout=60,
        fast_queue=True,
    )
    server.run(
        port=int(port),
        host="127.0.0.1",
        num_api_servers=SETTING.before,
        generate_client_file=False,
        log_level="warning",
    )
