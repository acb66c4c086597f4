"""A decoder of frames: `worker.decode.process`, as the settings want it."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from wire.decoder.child import Child
from wire.decoder.decoder import Decoder
from wire.picture.limits import MAX_PIXELS, MEMORY
from wire.printable import first_line
from wire.settings import child_environment
from wire.signals import blocked_in_children
from worker.decode.preprocessing import Preprocessing

log = logging.getLogger(__name__)

#: Seconds in which a trial of the faster resizer must end; an SD card under load is slow.
_TRIAL_TIMEOUT = 30.0
_ROOT = Path(__file__).resolve().parents[2]
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
    """A decoder of what a model wants, which is not started yet; the first call tries the faster resizer."""
    recipe = {name: getattr(preprocessing, name) for name in _DECODERS_READ}
    how = ("exact", "pillow") if limits.exact else ("fast", "simd" if simd_is_fit() else "pillow")
    arguments = [str(limits.max_pixels), *how, json.dumps(recipe)]
    start = functools.partial(
        Child,
        "worker.decode.process",
        arguments,
        capacity=math.prod(preprocessing.shape),
        memory=limits.memory,
    )
    return Decoder(start, limits.timeout)


@functools.lru_cache(maxsize=None)
def simd_is_fit() -> bool:
    """Whether cykooz-resizer is installed, and gives Pillow's pixels on this machine; a log line if not.

    A process of its own tries it, because one that was built for another Pillow or processor may crash.
    """
    if importlib.util.find_spec("cykooz_resizer") is None:
        return False
    fault = _fault_of_simd()
    if fault:
        log.warning("Pillow resizes the pictures, which takes longer: cykooz-resizer %s", fault)
    return not fault


def _fault_of_simd() -> str:
    command = [sys.executable, "-m", "worker.decode.resizing"]
    try:
        with blocked_in_children():
            trial = subprocess.run(
                command,
                cwd=_ROOT,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_TRIAL_TIMEOUT,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"has not resized a few pictures within {_TRIAL_TIMEOUT:g} s"
    except OSError as error:
        return f"cannot be tried: {error}"
    if trial.returncode < 0:
        return f"was killed by {signal.Signals(-trial.returncode).name}"
    last = trial.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return "" if trial.returncode == 0 else first_line("".join(last)) or "failed without a word"
