"""The tutorial's loop: Pillow, torchvision's transforms, the module, argmax; one picture after the other.

python -m bench.drivers.tutorial MODEL WEIGHTS_DIR [THREADS]
"""

from __future__ import annotations

import sys

import torch

from bench.drive import one_by_one, serve
from bench.peers.usual import load_classifier


def main(model: str, weights_dir: str, *threads: str) -> None:
    """Serve."""
    if threads:
        torch.set_num_threads(int(threads[0]))
    classify = load_classifier(model, weights_dir)
    serve(lambda order: one_by_one(order, classify))


if __name__ == "__main__":
    main(*sys.argv[1:])
