"""Pictures made small enough for a broker, in a decoder process."""

from __future__ import annotations

import functools
import sys
from typing import NamedTuple

from wire.decoder.child import Child
from wire.decoder.decoder import Decoder
from wire.picture.errors import Undecodable
from wire.picture.limits import MAX_PIXELS, MEMORY
from wire.picture.region import WHOLE, Region

#: Seconds for one picture: a large one on a slow camera is still a picture.
_TIMEOUT = 60.0
#: A JPEG takes fewer bytes than its pixels, and a header.
_BYTES_A_PIXEL, _HEADER = 3, 1 << 16


class Shrunk(NamedTuple):
    """A picture to send."""

    content: bytes
    #: Why the bytes are unchanged although the picture is too large, if so.
    kept: str = ""


class Shrinker:
    """Makes pictures small, in a process of its own, which starts with the first of them or before.

    A context manager. One thread shrinks; any may `kill`.
    """

    def __init__(
        self,
        max_side: int,
        max_bytes: int = sys.maxsize,
        *,
        always: bool = False,
        timeout: float = _TIMEOUT,
        memory: int = MEMORY,
    ) -> None:
        """Prepare the process.

        Args:
            max_side: pixels of the longer side, at most.
            max_bytes: of the picture, at most.
            always: write each anew, also one that is small: then nothing is left but its pixels.
            timeout: seconds for one picture.
            memory: bytes of address space that the process may use.
        """
        capacity = min(max_side**2, MAX_PIXELS) * _BYTES_A_PIXEL + _HEADER
        arguments = [str(max_side), str(max_bytes), "always" if always else "keep"]
        start = functools.partial(Child, "wire.decoder.shrink", arguments, capacity=capacity, memory=memory)
        self._decoder = Decoder(start, timeout)

    def __enter__(self) -> Shrinker:
        """Start the process now.

        Raises:
            NanofleetError: it cannot start; the text says why.
        """
        self._decoder.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self.close()

    def shrink(self, content: bytes, region: Region = WHOLE) -> Shrunk:
        """A JPEG that is small, of a region, as the worker would see it: upright, in 8 bits, without EXIF.

        The same bytes stay if the whole picture is wanted, and already is that small, unless each is written
        anew; if it cannot be decoded, because the
        worker's rejection says what is wrong with it; and if a part of it is missing, because the worker's
        answer says so.

        Raises:
            NanofleetError: there is no process, or it has died, and none can start.
            Closed: the process was killed.
        """
        try:
            decoded = self._decoder.decode(content, region)
        except Undecodable as error:
            return Shrunk(content, error.detail)
        return Shrunk(bytes(decoded.memory[: decoded.size]) or content)

    def kill(self) -> None:
        """Have the process end, for good, from any thread; wakes the one that waits for it."""
        self._decoder.kill()

    def close(self) -> None:
        """End the process and leave nothing of it, once no thread waits for it any more."""
        self._decoder.close()
