"""The places of a race: a CPU, whose time is measured, or a CUDA device, on which time is the clock's."""

from __future__ import annotations

import math
import time
from typing import Callable, List, NamedTuple

from typing_extensions import Literal

from worker.engines.limits import SECONDS_PER_CPU_SECOND
from worker.engines.sessions import sizes

#: What the milliseconds of a verdict are of.
Unit = Literal["ms of CPU a picture", "ms a picture"]


class Place(NamedTuple):
    """How candidates are tried on a device."""

    unit: Unit
    #: The seconds that count. On a CPU its own: others may want it meanwhile, and where decoders share it
    #: with the engine, its time is what decides how many frames get through.
    clock: Callable[[], float]
    #: The batches that pictures run in, one after the other and again, for a worker's largest.
    batches: Callable[[int], List[int]]
    #: Seconds of processor time that a candidate may take, with what it prepares, and how long to wait for
    #: them.
    seconds: int
    patience: int
    #: Times the best so far that a candidate may take for its first pictures. A GPU is slow while it is idle.
    slower: float


_CPU = Place(
    "ms of CPU a picture",
    time.process_time,
    lambda largest: [largest],
    seconds=60,
    patience=60 * SECONDS_PER_CPU_SECOND,
    slower=1.2,
)
#: A GPU is given small batches and large ones, by how much there is to do. TensorRT builds for minutes.
_CUDA = Place("ms a picture", time.perf_counter, sizes, seconds=3600, patience=1800, slower=math.inf)


def place_of(device: str) -> Place:
    """How candidates are tried on `cpu`, `cuda` or `cuda:N`."""
    return _CPU if device == "cpu" else _CUDA
