"""How each format is decoded: first as it is, and where that fails, without the parts that nobody needs."""

from __future__ import annotations

import io
from typing import Callable, Dict, NamedTuple, Tuple

from PIL import Image, UnidentifiedImageError

from wire.picture import jpeg, jpeg_end, jpeg_loading, png, webp
from wire.picture.budget import Budget
from wire.picture.errors import Undecodable


class Decoded(NamedTuple):
    """The pixels as they were sent, before they are made upright."""

    image: Image.Image
    width: int
    height: int
    covered: Tuple[float, float]
    complete: bool


def is_out_of_memory(error: Exception) -> bool:
    """Whether a decoder has failed for want of memory."""
    return isinstance(error, MemoryError) or "out of memory" in str(error)


def _decode_jpeg(payload: bytes, budget: Budget) -> Decoded:
    header = jpeg.read_header(payload)
    if header is None:
        raise UnidentifiedImageError
    # What it costs at least, because to find its end may take decoding as well.
    budget.check(header, (header.width, header.height), 1 if budget.reduce is None else header.coarsest)
    ended = jpeg_end.with_end(payload, header)
    try:
        return _decode_ended(ended, header, budget)
    except Undecodable:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        needed = jpeg.only_needed(ended.data, header)
        marked = ended.marked and jpeg.read_scans(ended.data, header)[-1].following == jpeg.END
        header = jpeg.read_header(needed)
        if header is None or needed == ended.data:
            raise
        return _decode_ended(jpeg_end.Ended(needed, marked), header, budget)


def _decode_ended(ended: jpeg_end.Ended, header: jpeg.Header, budget: Budget) -> Decoded:
    with Image.open(io.BytesIO(ended.data), formats=["JPEG"]) as image:
        size = image.size
        scale = min(budget.scale(image), header.coarsest)
        budget.check(header, size, scale)
        covered = jpeg_end.shrink(image, scale)
        # In one piece: where one ends, libjpeg does its row again.
        image.decodermaxblock = max(image.decodermaxblock, len(ended.data))
        jpeg_loading.load(image)
        complete = jpeg_end.is_complete(ended, header, image, scale)
        return Decoded(image, *size, covered, complete)


def _decode_png(payload: bytes, budget: Budget) -> Decoded:
    try:
        decoded = _decode_plain(payload, "PNG", budget)
        if png.has_end(payload):
            return decoded
        del decoded
        again = png.only_needed(payload, jpeg_end.MOST_MISSING)
        if again is None:
            raise Undecodable(
                "corrupt_image", "begins as PNG, but: its end is missing, and with it some pixels"
            )
    except Undecodable:
        raise
    except Exception as error:
        again = None if is_out_of_memory(error) else png.only_needed(payload, jpeg_end.MOST_MISSING)
        if again is None:
            raise
    needed, whole = again
    return _decode_plain(needed, "PNG", budget)._replace(complete=whole)


def _decode_webp(payload: bytes, budget: Budget) -> Decoded:
    try:
        return _decode_plain(payload, "WEBP", budget)
    except Undecodable:
        raise
    except Exception as error:
        needed = None if is_out_of_memory(error) else webp.only_needed(payload)
        if needed is None or needed == payload:
            raise
        return _decode_plain(needed, "WEBP", budget)


def _decode_plain(payload: bytes, kind: str, budget: Budget) -> Decoded:
    with Image.open(io.BytesIO(payload), formats=[kind]) as image:
        budget.check_pixels(image.size, 1)
        image.load()
        return Decoded(image, *image.size, image.size, True)


#: By the format's name in `wire.picture.kinds`.
FORMATS: Dict[str, Callable[[bytes, Budget], Decoded]] = {
    "JPEG": _decode_jpeg,
    "PNG": _decode_png,
    "WEBP": _decode_webp,
}
