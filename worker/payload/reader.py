"""A payload as it came -> the picture in it.

payload ──> JPEG, PNG, RIFF ────────────────────────────────────────────> as it is
        └─> JSON, in UTF-8 or UTF-16 ──> envelope ──> base64, data URI,
        └─> base64 or a data URI alone                or a list of bytes ──> decoded
        └─> headers, boundaries or blanks before a picture ──────────────> taken off
        └─> anything else ───────────────────────────────────────────────> as it is: the decoder names it

All of it takes time and memory that grow with the payload's length alone.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Optional

from worker.errors import EmptyPayload
from worker.payload.contents import BLANK, PICTURES, Contents, NotJson, Unreadable, begins_as_picture
from worker.payload.envelope import open_json, parse
from worker.payload.multipart import Part, parts
from worker.payload.text import looks_like_picture, read_text

SEVERAL_PICTURES = "image: more than one picture in the payload: the first was taken"

_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_WIDE = re.compile(rb"(?:[\t\n\r -~]\0){8}|(?:\0[\t\n\r -~]){8}")
_IN_UTF16 = tuple(mark.encode(order) for mark in '{["' for order in ("utf-16-le", "utf-16-be"))
#: Multipart in multipart, at most.
_DEPTH = 3


def open_payload(payload: bytes) -> Contents:
    """Find the picture in a payload.

    Returns:
        The picture and what came with it; the payload itself where nothing shows that it holds one.

    Raises:
        InvalidEnvelope: it is JSON, base64 or a data URI, and no picture can be got out of it.
        EmptyPayload: the picture that it wraps has no bytes.
    """
    contents = _open(payload, _DEPTH) or Contents(payload)
    if not contents.image:
        raise EmptyPayload("the picture in the payload has no bytes")
    return contents


def _open(data: bytes, depth: int) -> Optional[Contents]:
    """The contents of a payload, or of a part of one; None if nothing shows that it holds a picture."""
    data = _as_utf8(data).lstrip(BLANK)
    if data[:1] in (b"{", b"[", b'"'):
        contents = _open_json(data)
        if contents is not None:
            return _peeled(contents, depth)
    return _open_bytes(data, depth)


def _open_json(data: bytes) -> Optional[Contents]:
    # C's strings end at the first NUL, which JSON never has; what stands behind it is an old buffer's.
    document = data.partition(b"\0")[0]
    if data[:1] != b"{":
        try:
            return open_json(parse(document))
        except NotJson:
            return None  # a text in quotes or brackets
    contents = open_json(parse(document))
    if contents is None:
        raise Unreadable("no picture in the JSON, which has it as `image`, in base64")
    return contents


def _as_utf8(data: bytes) -> bytes:
    """The payload as UTF-8, where a byte order mark, or zeros between letters, say that it is text."""
    if data.startswith(_BOMS) or data[:2] in _IN_UTF16 or _WIDE.match(data):
        return data.decode(json.detect_encoding(data[:4]), "replace").encode("utf-8", "replace")
    return data


def _peeled(contents: Contents, depth: int) -> Contents:
    """The contents with what is around the picture taken off: a text may wrap a multipart, or JSON, too."""
    inner = _open(contents.image, depth - 1) if depth else None
    if inner is None:
        return contents
    return Contents(inner.image, (*inner.metadata, *contents.metadata), notes=contents.notes + inner.notes)


def _open_bytes(data: bytes, depth: int) -> Optional[Contents]:
    """The contents of bytes that are no JSON."""
    if data.startswith(PICTURES):
        return Contents(data)
    if looks_like_picture(data):
        image, notes = read_text(data)
        return _peeled(Contents(image, notes=notes), depth)
    return _open_parts(data, depth) if depth else None


def _open_parts(data: bytes, depth: int) -> Optional[Contents]:
    """The first picture among the parts of a multipart."""
    first: Optional[Contents] = None
    for part in parts(data):
        contents = _open_part(part, depth - 1)
        if contents is None or not begins_as_picture(contents.image):
            continue
        if first is not None:
            return first._replace(notes=(*first.notes, SEVERAL_PICTURES))
        first = contents
    return first


def _open_part(part: Part, depth: int) -> Optional[Contents]:
    try:
        if part.is_base64:
            image, notes = read_text(part.body)
            return Contents(image, notes=notes)
        return _open(part.body, depth)
    except Unreadable:
        return None  # another field of a form: JSON or a text that is not the picture
