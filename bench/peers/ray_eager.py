"""Ray Serve as its example of an image model has it: a deployment that decodes and classifies each request.

python -m bench.peers.ray_eager PORT MODEL WEIGHTS_DIR
"""

from __future__ import annotations

import sys
from typing import Any, Dict

from ray import serve
from starlette.requests import Request

from bench.peers.ray_serving import serve_until_ended
from bench.peers.usual import load_classifier


@serve.deployment
class ImageModel:
    """One replica, without batches."""

    def __init__(self, model: str, weights_dir: str) -> None:
        self.classify = load_classifier(model, weights_dir)

    async def __call__(self, request: Request) -> Dict[str, Any]:
        """Answer a request whose body is a JPEG."""
        return self.classify(await request.body())


if __name__ == "__main__":
    port, *arguments = sys.argv[1:]
    serve_until_ended(int(port), ImageModel.bind(*arguments))
