"""What decoding one picture may cost in pixels and memory, checked against its header."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Tuple

from PIL import Image

from wire.picture import jpeg, jpeg_end
from wire.picture.errors import Undecodable
from wire.picture.upright import turn_of


class Budget(NamedTuple):
    """What a caller allows for one picture."""

    max_pixels: int
    memory: int
    #: How many times smaller the picture may come out than it was sent, by its upright width and height.
    reduce: Optional[Callable[[int, int], float]]

    def scale(self, image: Image.Image) -> int:
        """The largest scale that libjpeg knows and that is wanted."""
        if self.reduce is None:
            return 1
        width, height = image.size
        swaps = turn_of(image).swaps
        most = self.reduce(height, width) if swaps else self.reduce(width, height)
        return next(scale for scale in (8, 4, 2, 1) if scale <= max(1.0, most))

    def check_pixels(self, size: Tuple[int, int], scale: int) -> None:
        """Raises Undecodable if that many pixels are more than are taken."""
        width, height = size
        left = (-(-width // scale), -(-height // scale))
        if left[0] * left[1] > self.max_pixels:
            scaled = f" ({left[0]} x {left[1]} once libjpeg has scaled them)" if scale > 1 else ""
            raise Undecodable(
                "image_too_large", f"{width} x {height} pixels{scaled}, at most {self.max_pixels} are taken"
            )

    def check(self, header: jpeg.Header, size: Tuple[int, int], scale: int) -> None:
        """Raises Undecodable if a JPEG, so scaled, takes more pixels or more memory than are taken."""
        self.check_pixels(size, scale)
        if header.in_one_scan:  # of which libjpeg keeps a few rows only
            return
        pixels = size[0] * size[1]
        # All coefficients, the pixels, and those that jpeg_end compares to know what is missing.
        needed = header.coefficient_bytes + 4 * pixels // scale**2
        needed += 9 * pixels // min(scale, jpeg_end.FINE_SCALE) ** 2
        if needed > self.memory:
            raise Undecodable(
                "image_too_large",
                f"{size[0]} x {size[1]} pixels in several scans (progressive) take {needed >> 20} MB "
                f"of memory to decode, {self.memory >> 20} MB are allowed",
            )
