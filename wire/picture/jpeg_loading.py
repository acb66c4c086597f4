"""Loading a JPEG as fast as Pillow can: its rows stay in the processor's cache.

libjpeg-turbo's code for AVX2 writes a row that begins at a multiple of 32 bytes past the cache. Pillow has
each row written to one buffer and copies it from there, and so waits for the memory: for a fifth of the time
that decoding takes. malloc gives multiples of 16 bytes, so that chance decides, for each process and width.
Here the buffer begins at no multiple of 32.
"""

from __future__ import annotations

import platform
from typing import Any, Callable, List, Optional

from PIL import Image, ImageFile

#: A buffer that begins at one of its multiples is written past the cache.
_BAD_MULTIPLE = 32
#: Bad places that are kept from being given again, at most; and those that are looked at for a picture.
_MOST_KEPT, _MOST_TRIED = 100, 32
#: Bytes of a pixel in the buffer.
_PIXEL = 4
#: The name of Pillow's JPEG decoder once the buffer's place is chosen.
_STEERED = "jpeg, rows in cache"


def load(image: ImageFile.ImageFile) -> None:
    """Load a JPEG, at the scale that it is drafted to."""
    if _PLACES is not None and image.mode == "RGB":
        [(_, extents, offset, args)] = image.tile
        assert isinstance(args, tuple)
        steered = (_STEERED, extents, offset, (image.width * _PIXEL, *args))
        image.tile = [steered]  # type: ignore[list-item]  # so did Pillow 10, which has no name for it
    image.load()


class _Places:
    """Where the next memory of a size is: where malloc has given it twice in turn."""

    def __init__(self, calloc: Callable[[int, int], int], free: Callable[[int], None]) -> None:
        self._calloc = calloc
        self._free = free
        self._kept: List[int] = []

    def prefer_good(self, size: int) -> None:
        """Have the next memory of a size begin where a buffer should; it may fail."""
        if len(self._kept) > _MOST_KEPT:
            while self._kept:
                self._free(self._kept.pop())
        good = None
        for _ in range(_MOST_TRIED):
            place = self._calloc(1, size)
            if place % _BAD_MULTIPLE == 0:
                # The two together, whatever the size, move what follows by an odd multiple of 16.
                self._kept += (place, self._calloc(1, size + 16))
                continue
            self._free(place)
            if place == good:
                return
            good = place


def _open_places() -> Optional[_Places]:
    """Those of this process; None where no row is written past the cache, or malloc is out of reach."""
    if platform.machine() != "x86_64":
        return None
    try:
        import ctypes
    except ImportError:  # a Python without it
        return None
    library = ctypes.PyDLL(None)
    library.calloc.restype = ctypes.c_size_t
    library.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    library.free.restype = None
    library.free.argtypes = [ctypes.c_size_t]
    return _Places(library.calloc, library.free)


def _open_decoder(mode: str, row: int, *args: Any) -> Any:
    assert _PLACES is not None
    decoder = Image.core.jpeg_decoder(mode, *args)  # type: ignore[attr-defined]
    _PLACES.prefer_good(row)  # Pillow asks for the buffer next
    return decoder


_PLACES = _open_places()
Image.register_decoder(_STEERED, _open_decoder)  # type: ignore[arg-type]
