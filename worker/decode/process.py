"""The main of a decoder process: a frame's bytes -> the pixels that the model wants.

    python -m worker.decode.process FD MEMORY MAX_PIXELS fast|exact RECIPE

See `wire.decoder.process`, which it runs. All it imports is Pillow, what Pillow needs, `wire.picture` and two
modules without any more: it starts again for hostile frames.
"""

from __future__ import annotations

import json
import sys
from typing import Sequence

from wire.decoder.process import Decode, Output, serve
from wire.picture.region import Region


def main(arguments: Sequence[str]) -> None:
    """Decode until stdin ends.

    Args:
        arguments: file descriptor of the shared memory, bytes of address space, pixels to decode at most, how
            to decode, and the model's Preprocessing in JSON, as far as decoders read it.
    """
    memory_fd, address_space, max_pixels, how, recipe = arguments
    serve(int(memory_fd), int(address_space), lambda: _prepare(int(max_pixels), how == "exact", recipe))


def _prepare(max_pixels: int, exact: bool, recipe: str) -> Decode:
    from worker.decode.image import decode
    from worker.decode.preprocessing import Preprocessing

    preprocessing = Preprocessing(**json.loads(recipe))

    def work(payload: bytes, region: Region, memory: int) -> Output:
        return Output(*decode(payload, preprocessing, max_pixels, region=region, exact=exact, memory=memory))

    return work


if __name__ == "__main__":
    main(sys.argv[1:])
