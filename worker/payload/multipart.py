"""HTTP and MIME around a picture: headers, and parts between boundaries.

--frame                        POST /x HTTP/1.1
Content-Type: image/jpeg       Content-Type: image/jpeg

<JPEG>                         <JPEG>
--frame--
"""

from __future__ import annotations

import re
from typing import Iterator, List, NamedTuple, Optional

#: Bytes of a part's headers, and parts, at most.
_LONGEST_HEADERS, _MOST_PARTS = 8192, 32

_START_LINE = re.compile(rb"(?:HTTP/[\d.]+ \d{3}[^\r\n]*|[A-Z]{3,7} [^\r\n ]+ HTTP/[\d.]+)\r?\n")
_HEADERS = re.compile(rb"(?:[!#-9;-~]{1,64}:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n){0,8}){1,64}\r?\n")
_BASE64 = re.compile(rb"^content-transfer-encoding:[ \t]*base64[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:[^\r\n]*chunked[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]{0,200})?\r?\n")
_BOUNDARY = re.compile(rb"--[^\r\n]{1,200}")
_LINE_END = re.compile(rb"\r?\n")


class Part(NamedTuple):
    """The body of a part, and whether its headers call it base64."""

    body: bytes
    is_base64: bool


def parts(data: bytes) -> Iterator[Part]:
    """The parts of a payload that begins with a boundary, or the body behind headers; else none."""
    boundary = _BOUNDARY.match(data)
    if boundary is None:
        part = _part(data)
        if part is not None:
            yield part
        return
    line = boundary.group().rstrip()
    between = re.compile(rb"\r?\n" + re.escape(line) + rb"(?P<last>--)?[ \t]*(?:\r?\n|\Z)")
    line_end = _LINE_END.match(data, boundary.end())
    at = line_end.end() if line_end else boundary.end()
    for _ in range(_MOST_PARTS):
        end = between.search(data, at)
        section = data[at : end.start()] if end else data[at:]
        part = _part(section)
        yield part if part is not None else Part(section, False)
        if end is None or end["last"]:
            return
        at = end.end()


def _part(section: bytes) -> Optional[Part]:
    """The bytes behind headers; None where there are none."""
    start = _START_LINE.match(section, 0, _LONGEST_HEADERS)
    at = start.end() if start else 0
    headers = _HEADERS.match(section, at, at + _LONGEST_HEADERS)
    if headers is None:
        return None
    body = section[headers.end() :]
    if _CHUNKED.search(headers.group()):
        body = _joined(body)
    return Part(body, _BASE64.search(headers.group()) is not None)


def _joined(body: bytes) -> bytes:
    """A body without HTTP's sizes between its chunks, which would be taken for a picture's bytes.

    It has none where somebody has joined it already, and left the headers as they were.
    """
    chunks: List[bytes] = []
    at = 0
    while True:
        size = _CHUNK_SIZE.match(body, at)
        if size is None or not int(size[1], 16):
            return b"".join(chunks) if chunks else body
        chunks.append(body[size.end() : size.end() + int(size[1], 16)])
        line_end = _LINE_END.match(body, size.end() + len(chunks[-1]))
        at = line_end.end() if line_end else len(body)
