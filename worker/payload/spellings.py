r"""Bytes that a sender has spelt out in another way than base64 -> the bytes.

ffd8ffe0, FF-D8-FF-E0, 0xff 0xd8     hexadecimal: C#'s BitConverter, JavaScript's toString("hex")
b'\xff\xd8\xff\xe0'                  as Python prints bytes
ÿØÿà                                 a character a byte: JavaScript's atob, in UTF-8 on its way
"""

from __future__ import annotations

import binascii
import re
from typing import Union

from worker.payload.contents import Unreadable
from worker.payload.escapes import percent_decoded

#: Characters that hold a spelt-out signature, at most.
_LOOK = 64
_BETWEEN = r"[\s:,;-]{0,3}(?:0x)?"
_SIGNATURES = ("ff d8 ff", "89 50 4e 47", "52 49 46 46")
_HEX = re.compile(
    r"\s*(?:0x)?(?:" + "|".join(each.replace(" ", _BETWEEN) for each in _SIGNATURES) + ")", re.IGNORECASE
)
_LITERAL = re.compile(r"""\s*(?:bytearray\(|bytes\()?(?:b?["']?\\xff\\xd8|b?["']?\\x89PNG|b["']RIFF)""")
_CHARACTERS = re.compile("\xff\xd8\xff|\x89PNG\r\n\x1a")
#: Python's escapes with a backslash, and the same as in a URL.
_ESCAPES = (
    (b"%", b"%25"),
    (b"\\\\", b"%5C"),
    (b"\\x", b"%"),
    (b"\\n", b"%0A"),
    (b"\\r", b"%0D"),
    (b"\\t", b"%09"),
    (b"\\'", b"'"),
    (b'\\"', b'"'),
)


def is_spelt(text: Union[str, bytes]) -> bool:
    """Whether a text begins as the signature of an image format, spelt out."""
    begin = _begin(text)
    return any(form.match(begin) for form in (_HEX, _LITERAL, _CHARACTERS))


def read_spelt(text: Union[str, bytes]) -> bytes:
    """The bytes that a text for which `is_spelt` holds stands for.

    Raises:
        Unreadable: it goes on as something else.
    """
    begin = _begin(text)
    if _CHARACTERS.match(begin):
        return _from_characters(text)
    try:
        plain = text if isinstance(text, bytes) else text.encode("ascii")
    except UnicodeEncodeError:
        raise Unreadable(
            "bytes in hexadecimal or as a program's literal, with a letter that is none"
        ) from None
    return _from_hex(plain) if _HEX.match(begin) else _from_literal(plain)


def _begin(text: Union[str, bytes]) -> str:
    return text[:_LOOK] if isinstance(text, str) else text[:_LOOK].decode("utf-8", "replace")


def _from_characters(text: Union[str, bytes]) -> bytes:
    try:
        return (text if isinstance(text, str) else text.decode("utf-8")).encode("latin-1")
    except UnicodeError:
        raise Unreadable("a picture's bytes that were taken for text on the way, and are lost") from None


def _from_hex(text: bytes) -> bytes:
    digits = text.replace(b"0x", b"").replace(b"0X", b"").translate(None, b"\0 \t\r\n\v\f:,;-")
    try:
        return binascii.unhexlify(digits)
    except binascii.Error:
        raise Unreadable(
            "hexadecimal that is cut off, or holds something else than 0 to 9 and A to F"
        ) from None


def _from_literal(text: bytes) -> bytes:
    text = text.strip(b"\0 \t\r\n")
    if text.endswith(b")"):
        text = text[:-1].partition(b"(")[2]
    if text[:1] == b"b":
        text = text[1:]
    if text[:1] in (b"'", b'"'):
        text = text[1:-1] if text[-1:] == text[:1] else text[1:]
    for escape, encoded in _ESCAPES:
        text = text.replace(escape, encoded)
    if b"\\" in text:
        raise Unreadable("a literal of bytes with an escape that is not Python's")
    return percent_decoded(text)
