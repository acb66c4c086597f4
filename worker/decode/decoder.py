"""A decoder of frames: `worker.decode.process`, as the settings want it."""

from __future__ import annotations

import functools
import json
import math

from wire.decoder.child import Child
from wire.decoder.decoder import Decoder
from wire.picture.limits import MAX_PIXELS, MEMORY
from worker.decode.preprocessing import Preprocessing

#: The fields of a Preprocessing that decoders act on.
_DECODERS_READ = ("resize", "crop", "interpolation", "fit", "channels", "width")


def decoder_for(
    preprocessing: Preprocessing,
    *,
    timeout: float,
    memory: int = MEMORY,
    max_pixels: int = MAX_PIXELS,
    exact: bool = False,
) -> Decoder:
    """A decoder that is not started yet.

    Args:
        preprocessing: what the model wants.
        timeout: seconds for one image, from its first byte written to the process.
        memory: bytes of address space that the process may use.
        max_pixels: to decode of an image, at most; of a JPEG, counted after libjpeg's scaling.
        exact: whether to decode every JPEG at its full size.
    """
    recipe = {name: getattr(preprocessing, name) for name in _DECODERS_READ}
    arguments = [str(max_pixels), "exact" if exact else "fast", json.dumps(recipe)]
    capacity = math.prod(preprocessing.shape)
    start = functools.partial(Child, "worker.decode.process", arguments, capacity=capacity, memory=memory)
    return Decoder(start, timeout)
