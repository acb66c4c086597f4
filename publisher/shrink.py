"""Making an image small enough for a broker. Needs Pillow, which the publisher does not bring."""

from __future__ import annotations

import io

from wire.errors import SettingsError


def shrink(content: bytes, max_side: int) -> bytes:
    """A JPEG of at most `max_side` pixels a side, upright; the same bytes if it already is that small.

    The same bytes, too, if they are no image: the worker's rejection says what is wrong with them.

    Raises:
        SettingsError: Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise SettingsError("--max-side needs Pillow: pip install 'nanofleet[camera]'") from None
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
            if max(image.size) <= max_side:
                return content
            image.draft("RGB", (max_side, max_side))
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return content
    upright.thumbnail((max_side, max_side))
    small = io.BytesIO()
    upright.save(small, "JPEG", quality=90)
    return small.getvalue()
