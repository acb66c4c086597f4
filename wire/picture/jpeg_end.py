"""How much of a JPEG is missing.

libjpeg does not report it: where the data of a scan ends early, the rest of the picture is mid grey, or stays
as coarse as earlier scans made it. So a picture that may be cut is decoded once more, with more bytes where
its data ends. After a whole scan libjpeg skips them, and the pixels are the same; otherwise the pixels differ
from the row on in which the data ended.

suspected: no end marker, a grey end, arithmetic coding, several scans (each of which covers the picture)
           unless the last of them only refines it
"""

from __future__ import annotations

import io
from typing import List, NamedTuple, Tuple, Union

from PIL import Image, ImageChops

from wire.picture import jpeg_loading
from wire.picture.errors import Undecodable
from wire.picture.jpeg import END, EOI, Header, Scan, only_needed, read_scans

#: The share of a picture's rows that may be missing.
MOST_MISSING = 1 / 8
#: Bytes that decode to anything but grey, without a marker among them: as good as random ones.
_FILLER = bytes(1 + number * number * 7919 % 65521 % 0xFE for number in range(1, 513))
#: The same where there are restarts: after one interval, libjpeg reads on only behind the next marker. No two
#: begin alike, because an interval may be a single block.
_INTERVALS = _FILLER + b"".join(
    bytes([0xFF, 0xD0 + number % 8]) + _FILLER[13 * number : 13 * number + 96] for number in range(32)
)
#: Equal bytes at the end that are no picture's: what a buffer, or a page of flash, was filled up with.
_PADDING = 16
#: So much text is none either: the headers of what follows, or a log.
_TEXT, _LONG_TEXT = bytes([9, 10, 13, *range(32, 127)]), 48
#: Bits that the coarsest scan of a sharp picture may leave out.
_COARSE = 2
#: The scale at which a difference in any of the lower frequencies can be seen.
FINE_SCALE = 4


class Ended(NamedTuple):
    """A JPEG that libjpeg reads to its end."""

    data: bytes
    #: Whether the end marker was there.
    marked: bool


def with_end(payload: bytes, header: Header) -> Ended:
    """The JPEG with an end marker, and without what only fills it up.

    Raises:
        Undecodable: the file is far too short for its pixels.
    """
    # No code is shorter than a bit, and each block has two: of its first coefficient, and of its end.
    bits = 2 * header.blocks * (1 - MOST_MISSING)
    if header.in_one_scan and not header.arithmetic and len(payload) * 8 < bits:
        raise Undecodable(
            "corrupt_image",
            f"begins as JPEG, but: {len(payload)} bytes are too few for its {header.width} x {header.height}",
        )
    begin = header.segments[-1].end
    if not payload.endswith(EOI):
        end = payload.find(EOI, begin)
        payload = payload[: end + len(EOI)] if end >= 0 else payload
    marked = payload.endswith(EOI)
    if marked and (header.arithmetic or not payload.endswith(bytes(_PADDING) + EOI)):
        return Ended(payload, True)
    data = payload[: -len(EOI)] if marked else payload
    if data.endswith(bytes(_PADDING)) and _needs_its_zeros(data, header):
        return Ended(data + EOI, marked)
    data = payload[:begin] + _without_padding(data[begin:])
    return Ended(data[: read_scans(data, header)[-1].end] + EOI, False)


def _needs_its_zeros(data: bytes, header: Header) -> bool:
    """Whether zeros at the end are the last part of the picture, such as an area of one colour, to the byte.

    Those that fill a file up are either too few for the picture or too many.
    """
    scale = header.coarsest if header.in_one_scan else FINE_SCALE
    missing = []
    for some in (data, data[:-_PADDING]):
        ended = only_needed(some, header)
        missing.append(_missing(ended, header, load(ended, scale), scale))
    return not missing[0] and missing[1] > 0


def _without_padding(data: bytes) -> bytes:
    stripped = data.rstrip(_TEXT)
    if len(data) - len(stripped) >= _LONG_TEXT:
        data = data[: len(stripped) + 8]  # the first of them may be the picture's last
    text = data.rstrip(b"\r\n")
    stripped = text.rstrip(text[-1:])
    if len(text) - len(stripped) >= _PADDING:
        data = text[: len(stripped) + 2]
    return data.rstrip(b"\xff")


def load(data: bytes, scale: int) -> Image.Image:
    """Decode a JPEG at 1/scale of its size, 1, 2, 4 or 8."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    shrink(image, scale)
    jpeg_loading.load(image)
    return image


def shrink(image: Image.Image, scale: int) -> Tuple[float, float]:
    """Have libjpeg scale a JPEG that is not decoded yet.

    Returns:
        The part of the scaled picture that the whole one covers, in pixels: its last may be cut through.
    """
    width, height = image.size
    drafted = image.draft(None, (max(1, width // scale), max(1, height // scale))) if scale > 1 else None
    return (drafted[1][2], drafted[1][3]) if drafted else (width, height)


def is_complete(ended: Ended, header: Header, image: Image.Image, scale: int) -> bool:
    """Whether all of a picture was there.

    Args:
        ended: what was decoded.
        header: its header.
        image: its pixels, not turned yet.
        scale: at which 1/scale of its size it was decoded.

    Raises:
        Undecodable: much is missing.
    """
    if header.in_one_scan:
        if ended.marked and not header.arithmetic and not _ends_grey(image):
            return True
        end = read_scans(ended.data, header)[0].end
        missing = _missing(ended.data[:end] + EOI, header, image, scale)
        if header.arithmetic and ended.marked and missing * image.height <= 16:
            return (
                True  # its coder leaves zeros out at the end, so that other bytes there change the last rows
            )
        if missing > MOST_MISSING:
            raise Undecodable(
                "corrupt_image", f"begins as JPEG, but: {missing:.0%} of its rows are missing at its end"
            )
        return not missing
    scans = read_scans(ended.data, header)
    if ended.marked and _refines_all(header, scans):
        return True
    data = ended.data[: scans[-1].end] + EOI
    if scale > FINE_SCALE:
        scale = FINE_SCALE
        image = load(data, scale)
    missing = _missing(data, header, image, scale)
    precise, sharp = _precision(header, scans if missing <= MOST_MISSING else scans[:-1])
    if not sharp:
        raise Undecodable(
            "corrupt_image", "begins as JPEG, but: its data ends before the whole picture is sharp"
        )
    return precise and not missing


def _refines_all(header: Header, scans: List[Scan]) -> bool:
    """Whether the last scan has but the last bits of a picture that all others have sent, and an end marker.

    Nobody sees where it ends early, and to know would take as long as decoding the picture does.
    """
    return scans[-1].high > 0 and scans[-1].following == END and _precision(header, scans)[0]


def _missing(data: bytes, header: Header, image: Image.Image, scale: int) -> float:
    """The share of the rows below the one in which the last scan's data ends."""
    filler = _INTERVALS if header.restarts else _FILLER
    filled = load(data[: -len(EOI)] + filler + EOI, scale)
    differing = ImageChops.difference(image, filled).getbbox()
    return (image.height - differing[1]) / image.height if differing else 0.0


def _ends_grey(image: Image.Image) -> bool:
    """Whether a picture's last pixels are as bright as those for which there is no data.

    Their colour may be that of the row above, with which libjpeg blends it.
    """
    width, height = image.size
    tail = ((x, height - 1) for x in range(width - 1, max(-1, width - 5), -1))
    return all(126.5 <= _brightness(image.getpixel(place)) < 129.5 for place in tail)


def _brightness(pixel: Union[float, Tuple[int, ...], None]) -> float:
    """That of a grey pixel, of a red, green and blue one by ITU-R 601, of four inks by the black one."""
    if not isinstance(pixel, tuple):
        return pixel or 0.0
    if len(pixel) == 4:
        return pixel[3]
    red, green, blue = pixel
    return (299 * red + 587 * green + 114 * blue) / 1000


def _precision(header: Header, scans: List[Scan]) -> Tuple[bool, bool]:
    """Whether all coefficients were sent in full; whether those were, at least coarsely, that make it sharp.

    Sharp is a picture with the mean of each block, and with all frequencies of its brightness.
    """
    numbers = [number for number, _, _ in header.components]
    left_out = {number: [99] * 64 for number in numbers}
    for scan in scans:
        for number in scan.components:
            for frequency in range(scan.first, min(scan.last, 63) + 1):
                left_out.get(number, [0] * 64)[frequency] = scan.low
    bright = numbers if len(numbers) == 4 else numbers[:1]
    precise = not any(any(bits) for bits in left_out.values())
    sharp = all(left_out[number][0] <= _COARSE for number in numbers)
    return precise, sharp and all(max(left_out[number]) <= _COARSE for number in bright)
