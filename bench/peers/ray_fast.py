"""Ray Serve with our engine: decoding and dynamic batching, as its guide on dynamic request batching has it.

python -m bench.peers.ray_fast PORT MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from typing import Any, Dict, List

import numpy as np
from numpy.typing import NDArray
from ray import serve
from starlette.requests import Request

from bench.decoding import decode
from bench.peers.fast import SETTING, open_engine
from bench.peers.ray_serving import serve_until_ended


@serve.deployment(max_ongoing_requests=128, num_replicas=SETTING.workers)
class Classifier:
    """Decodes in threads, infers in batches."""

    def __init__(self, model: str, weights_dir: str) -> None:
        self.model, self.engine = open_engine(model, weights_dir)
        self.decoders = concurrent.futures.ThreadPoolExecutor(SETTING.threads)
        self.inference = concurrent.futures.ThreadPoolExecutor(1)

    @serve.batch(max_batch_size=SETTING.batch, batch_wait_timeout_s=0.005)  # type: ignore[untyped-decorator]
    async def classify(self, images: List[NDArray[np.uint8]]) -> List[Dict[str, Any]]:
        """Classify a batch, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self.inference, self.engine.infer, np.stack(images))
        return [
            {"label": self.model.classes[int(row.argmax())], "confidence": float(row.max())} for row in rows
        ]

    async def __call__(self, request: Request) -> Dict[str, Any]:
        """Answer a request whose body is a JPEG."""
        jpeg = await request.body()
        loop = asyncio.get_running_loop()
        image = await loop.run_in_executor(self.decoders, decode, jpeg, self.model.preprocessing)
        answer: Dict[str, Any] = await self.classify(image)
        return answer


if __name__ == "__main__":
    port, *arguments = sys.argv[1:]
    serve_until_ended(int(port), Classifier.bind(*arguments))
