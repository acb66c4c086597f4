"""Pictures made small enough for a broker, in a decoder process."""

from __future__ import annotations

import functools
import importlib.util
from typing import NamedTuple

from wire.decoder.child import Child
from wire.decoder.decoder import Decoder
from wire.errors import SettingsError
from wire.install import how_to_install
from wire.picture.errors import Undecodable
from wire.picture.limits import MAX_PIXELS, MEMORY

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
    """Makes pictures small, in a process of its own. A context manager."""

    def __init__(self, max_side: int) -> None:
        """Prepare the process.

        Args:
            max_side: pixels of the longer side, at most.

        Raises:
            SettingsError: Pillow is missing.
        """
        if importlib.util.find_spec("PIL") is None:
            raise SettingsError(f"--max-side needs Pillow: {how_to_install('camera')}")
        capacity = min(max_side**2, MAX_PIXELS) * _BYTES_A_PIXEL + _HEADER
        start = functools.partial(
            Child, "publisher.shrink", [str(max_side)], capacity=capacity, memory=MEMORY
        )
        self._decoder = Decoder(start, _TIMEOUT)

    def __enter__(self) -> Shrinker:
        """Start the process.

        Raises:
            NanofleetError: it cannot start; the text says why.
        """
        self._decoder.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self._decoder.close()

    def shrink(self, content: bytes) -> Shrunk:
        """A JPEG that is small, as the worker would see it: upright, in 8 bits, without EXIF.

        The same bytes stay if the picture already is that small; if it cannot be decoded, because the
        worker's rejection says what is wrong with it; and if a part of it is missing, because the worker's
        answer says so.

        Raises:
            NanofleetError: the process has died, and no other can start.
        """
        try:
            decoded = self._decoder.decode(content)
        except Undecodable as error:
            return Shrunk(content, error.detail)
        return Shrunk(bytes(decoded.memory[: decoded.size]) or content)
