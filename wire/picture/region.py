"""The part of a picture that is wanted."""

from __future__ import annotations

from typing import Tuple

#: Left, top, right and bottom, as fractions of an upright picture's width and height.
Region = Tuple[float, float, float, float]
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
