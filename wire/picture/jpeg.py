"""The segments and scans of a JPEG, as libjpeg reads them: what is none is skipped up to the next marker."""

from __future__ import annotations

import re
from typing import Iterator, List, NamedTuple, Optional, Tuple

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
#: What ends entropy-coded bytes: neither a stuffed zero nor a restart.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_DHT, _SOI, _SOS = 0xC4, 0xD8, 0xDA
END = 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_ARITHMETIC = frozenset(range(0xC9, 0xD0)) - {0xCC}
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
#: Segments without which the pixels would be others: frames, tables, the restart interval.
_NEEDED = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDD, _SOS}) - {0xC8}


class Segment(NamedTuple):
    """A segment: its marker's second byte, and where marker and data begin and data ends."""

    marker: int
    start: int
    data: int
    end: int


class Scan(NamedTuple):
    """One scan: whose coefficients it sends, which, and to what precision; where its bytes are."""

    components: Tuple[int, ...]
    first: int
    last: int
    #: Bits that the scan before of these coefficients left out; 0 for the first.
    high: int
    #: Bits that are left out.
    low: int
    begin: int
    end: int
    #: The marker behind it; END as well where the data ends.
    following: int


class Header(NamedTuple):
    """What stands before the first entropy-coded byte."""

    segments: List[Segment]
    #: The frame's marker: 0xC0 and 0xC1 are sequential, 0xC2 progressive, 0xC9 on arithmetic.
    marker: int
    width: int
    height: int
    #: Number, and horizontal and vertical sampling, of each component.
    components: Tuple[Tuple[int, int, int], ...]
    #: Components in the first scan.
    in_first_scan: int

    @property
    def in_one_scan(self) -> bool:
        """Whether the first scan is the only one, so that libjpeg decodes row by row."""
        return self.marker not in (0xC2, 0xC6, 0xCA, 0xCE) and self.in_first_scan == len(self.components)

    @property
    def restarts(self) -> bool:
        """Whether restart markers divide the entropy-coded bytes."""
        return any(segment.marker == 0xDD for segment in self.segments)

    @property
    def coarsest(self) -> int:
        """The largest scale at which libjpeg can decode it: it shrinks blocks, and lossless has none."""
        return 1 if self.marker in _LOSSLESS else 8

    @property
    def arithmetic(self) -> bool:
        """Whether the entropy coding is arithmetic instead of Huffman's."""
        return self.marker in _ARITHMETIC

    @property
    def blocks(self) -> int:
        """Blocks of 8 x 8 coefficients in the picture."""
        across = max(component[1] for component in self.components)
        down = max(component[2] for component in self.components)
        units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        return units * sum(component[1] * component[2] for component in self.components)

    @property
    def coefficient_bytes(self) -> int:
        """Bytes of all coefficients, which libjpeg keeps where there are several scans."""
        return self.blocks * 64 * 2


def read_header(data: bytes) -> Optional[Header]:
    """The header of a JPEG; None if it has no frame, or no scan."""
    segments, frame = [], None
    for segment in _segments(data, 2):
        segments.append(segment)
        if segment.marker in _FRAMES:
            frame = segment
        elif segment.marker == _SOS:
            return _header(data, segments, frame) if frame else None
    return None


def _header(data: bytes, segments: List[Segment], frame: Segment) -> Optional[Header]:
    count = data[frame.data + 5] if frame.end - frame.data > 5 else 0
    if not count or frame.end - frame.data < 6 + 3 * count or segments[-1].end == segments[-1].data:
        return None
    each = [data[at : at + 3] for at in range(frame.data + 6, frame.data + 6 + 3 * count, 3)]
    components = tuple((number, sampling >> 4, sampling & 15) for number, sampling, _ in each)
    height, width = (int.from_bytes(data[frame.data + at : frame.data + at + 2], "big") for at in (1, 3))
    if not width or not height or not all(across and down for _, across, down in components):
        return None
    return Header(segments, frame.marker, width, height, components, data[segments[-1].data])


def _segments(data: bytes, at: int) -> Iterator[Segment]:
    """The segments from an offset up to the header of a scan, or to an end.

    A picture within what should be none, such as a broken block's preview, is passed over, if there is a
    scan behind it.
    """
    end, last_scan = 0, None
    while True:
        found = _MARKER.search(data, at)
        if not found:
            return
        start, at = found.span()
        marker = data[start + 1]
        if marker in _ALONE:
            continue
        if marker == END:
            return
        if marker == _SOI:
            last_scan = data.rfind(b"\xff\xda") if last_scan is None else last_scan
            if end < at:
                end = data.find(EOI, at) % (len(data) + 1)  # the end, if there is none
            at = end + 2 if last_scan > end else at
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2:
            continue
        if at + length > len(data):
            return
        yield Segment(marker, start, at + 2, at + length)
        if marker == _SOS:
            return
        at += length


def read_scans(data: bytes, header: Header) -> List[Scan]:
    """All scans that have begun, in the order in which they are sent; the first one always."""
    scans: List[Scan] = []
    sos: Optional[Segment] = header.segments[-1]
    while sos:
        found = _END_OF_SCAN.search(data, sos.end)
        end = found.start() if found else len(data)
        following = found.group()[1] if found else END
        while data[end - 1] == 0xFF and end > sos.end:  # fill bytes
            end -= 1
        scan = _scan(data[sos.data : sos.end], sos.end, end, following)
        if scans and not (0 <= scan.first <= scan.last < 64 and scan.low < 14):  # its header is cut
            break
        scans.append(scan)
        if following == _SOI:  # another picture
            break
        sos = next((segment for segment in _segments(data, end) if segment.marker == _SOS), None)
    return scans


def _scan(header: bytes, begin: int, end: int, following: int) -> Scan:
    count = header[0] if header else 0
    if len(header) < 4 + 2 * count:
        return Scan((), -1, -1, 0, 0, begin, end, following)
    first, last, bits = header[1 + 2 * count : 4 + 2 * count]
    return Scan(
        tuple(header[1 : 1 + 2 * count : 2]), first, last, bits >> 4, bits & 15, begin, end, following
    )


def only_needed(data: bytes, header: Header) -> bytes:
    """The same picture without junk, and without the segments that decoding does not need.

    Segments on colours and orientation stay: JFIF, Adobe, EXIF.
    """
    kept = [
        data[s.start : s.end] for s in header.segments if s.marker in _NEEDED or _is_metadata_to_keep(data, s)
    ]
    return SOI + b"".join(kept) + data[header.segments[-1].end : read_scans(data, header)[-1].end] + EOI


def _is_metadata_to_keep(data: bytes, segment: Segment) -> bool:
    begin, size = data[segment.data : segment.data + 6], segment.end - segment.data
    return (
        (segment.marker == 0xE0 and begin[:5] == b"JFIF\0" and size >= 14)
        or (segment.marker == 0xE1 and begin == b"Exif\0\0")
        or (segment.marker == 0xEE and begin[:5] == b"Adobe" and size >= 12)
    )
