"""The main of a decoder process: a frame's bytes -> the pixels that the model wants.

    python -m worker.decode.process FD MEMORY MAX_PIXELS fast|exact pillow|simd RECIPE

See `wire.decoder.process`, which it runs. All it imports is Pillow, what Pillow needs, perhaps
cykooz-resizer, `wire.picture` and three modules without any more: it starts again for hostile frames.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Sequence

from wire.decoder.process import Decode, Output, serve


def main(arguments: Sequence[str]) -> None:
    """Decode until stdin ends.

    Args:
        arguments: file descriptor of the shared memory, bytes of address space, pixels to decode at most, how
            to decode, what resizes, and the model's Preprocessing in JSON, as far as decoders read it.
    """
    memory_fd, address_space, *others = arguments
    serve(int(memory_fd), int(address_space), lambda: _prepare(*others))


def _prepare(max_pixels: str, how: str, resizer: str, recipe: str) -> Decode:
    from worker.decode import resizing
    from worker.decode.image import decode
    from worker.decode.preprocessing import Preprocessing

    decode_frame = functools.partial(
        decode,
        preprocessing=Preprocessing(**json.loads(recipe)),
        max_pixels=int(max_pixels),
        exact=how == "exact",
        resize=resizing.open_simd() if resizer == "simd" else resizing.by_pillow,
    )
    return lambda payload, region, memory: Output(*decode_frame(payload, region=region, memory=memory))


if __name__ == "__main__":
    main(sys.argv[1:])
