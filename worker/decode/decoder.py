"""A decoder of frames: `worker.decode.process`, as the settings want it."""

from __future__ import annotations

import functools
import json
import math
from typing import NamedTuple

from wire.decoder.child import Child
from wire.decoder.decoder import Decoder
from wire.picture.limits import MAX_PIXELS, MEMORY
from worker.decode.preprocessing import Preprocessing

#: The fields of a Preprocessing that decoders act on.
_DECODERS_READ = ("resize", "crop", "interpolation", "fit", "channels", "width")


class Limits(NamedTuple):
    """The time, memory and pixels that decoding one image may take."""

    #: Seconds, from its first byte written to the process.
    timeout: float = 5.0
    #: Bytes of address space that the process may use.
    memory: int = MEMORY
    #: Pixels to decode of an image; of a JPEG, counted after libjpeg's scaling.
    max_pixels: int = MAX_PIXELS
    #: Whether every JPEG is decoded at its full size.
    exact: bool = False


DEFAULT_LIMITS = Limits()


def decoder_for(preprocessing: Preprocessing, limits: Limits) -> Decoder:
    """A decoder of what a model wants, which is not started yet."""
    recipe = {name: getattr(preprocessing, name) for name in _DECODERS_READ}
    arguments = [str(limits.max_pixels), "exact" if limits.exact else "fast", json.dumps(recipe)]
    start = functools.partial(
        Child,
        "worker.decode.process",
        arguments,
        capacity=math.prod(preprocessing.shape),
        memory=limits.memory,
    )
    return Decoder(start, limits.timeout)
