"""Base64 and data URIs, as senders write them -> the bytes that they stand for.

text ──> quotes and blanks around it ──> "data:" ──> RFC 2397: base64, or percent-encoded bytes
    │                               └──> base64: line breaks, spaces, URL alphabet, no padding, %2B
    └──> a picture's signature spelt out: see worker.payload.spellings

Layout is taken away, and nothing else: a character that is not of base64 is an error, because a reader
that skips it makes another picture of the rest.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from typing import Tuple, Union

from worker.payload.contents import BLANK, Unreadable, begins_as_picture
from worker.payload.escapes import percent_decoded
from worker.payload.spellings import is_spelt, read_spelt

Notes = Tuple[str, ...]

PLUSES_LOST = "image: the base64 had spaces where its + must have been: read as +"

_LETTERS = (string.ascii_letters + string.digits + "+/").encode()
_FROM_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_LAYOUT = b" \t\r\n\v\f"
#: How a data URI begins, also one that has lost its first word.
_URI = re.compile(rb"data(?::|%3a)|(?:image/[\w.+-]{1,40};)?base64,", re.IGNORECASE)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
#: Bytes in front of a data URI's comma, at most.
_LONGEST_HEAD = 2048
#: Bytes that are looked at to see whether a text is a picture's.
_LOOK = 512
#: Characters of base64 that surely hold a picture's signature.
_SIGNATURE = 32


def read_text(text: Union[str, bytes]) -> Tuple[bytes, Notes]:
    """Decode base64, a data URI, or a picture that is spelt out in another way.

    Returns:
        The bytes; and what was assumed, in sentences.

    Raises:
        Unreadable: it is none of them.
    """
    if is_spelt(text):  # first, because hexadecimal is base64 of something else as well
        return read_spelt(text), ()
    try:
        return base64.b64decode(text, validate=True), ()
    except ValueError:  # also where it is not ASCII
        return _read(_ascii(text))


def looks_like_picture(text: Union[str, bytes]) -> bool:
    """Whether a text begins as an image's data URI, or as an image format's base64 or other spelling."""
    if is_spelt(text):
        return True
    try:
        begin = _without_quotes(_ascii(text[:_LOOK]))
    except Unreadable:
        return False
    if _is_uri(begin):
        head, _, begin = begin.partition(b",")
        if b"image" in head.lower() or b"base64" in head.lower():
            return True
        if begins_as_picture(percent_decoded(begin)):
            return True
    # In text no format's signature survives: this is base64 only if it decodes to one.
    letters = _standard(_unescaped(begin))[:_SIGNATURE]
    try:
        return begins_as_picture(binascii.a2b_base64(letters[: len(letters) // 4 * 4]))
    except binascii.Error:
        return False


def _read(text: bytes) -> Tuple[bytes, Notes]:
    text = _without_quotes(text)
    if text[:7].lower() == b"data%3a":
        text = percent_decoded(text)
    return _read_uri(text) if _is_uri(text) else _read_base64(text)


def _ascii(text: Union[str, bytes]) -> bytes:
    try:
        return text if isinstance(text, bytes) else text.encode("ascii")
    except UnicodeEncodeError as error:
        raise Unreadable(f"{_no_letter(ord(error.object[error.start]))}, nor of a data URI") from None


def _no_letter(code: int) -> str:
    return f"neither base64 nor a data URI: {chr(code)!a} is no character of base64"


def _without_quotes(text: bytes) -> bytes:
    """The text without blanks and quotes around it, and without the b of a Python literal."""
    text = text.strip(BLANK)
    if text[:2] in (b"b'", b'b"'):
        text = text[1:]
    if text[:1] in (b"'", b'"'):
        text = text[1:-1] if text[-1:] == text[:1] and len(text) > 1 else text[1:]
    return text.strip(BLANK)


def _is_uri(text: bytes) -> bool:
    return _URI.match(text) is not None


def _read_uri(uri: bytes) -> Tuple[bytes, Notes]:
    content = uri[len("data:") :] if uri[:5].lower() == b"data:" else uri
    head = _QUOTED.sub(lambda quoted: b"x" * len(quoted.group()), content[:_LONGEST_HEAD])
    comma = head.find(b",")
    if comma < 0:  # a quote that nothing closes
        comma = content[:_LONGEST_HEAD].find(b",")
    if comma < 0:
        raise Unreadable("a data URI without a comma, behind which its data would stand")
    encodings = [part.strip(BLANK).lower() for part in head[:comma].split(b";")]
    body = content[comma + 1 :]
    return _read_base64(body) if b"base64" in encodings else (percent_decoded(body), ())


def _read_base64(text: bytes) -> Tuple[bytes, Notes]:
    text = _unescaped(text).strip(BLANK)
    notes: Notes = ()
    if b" " in text:
        text, notes = _with_pluses(text)
    text = _standard(text)
    illegal = text.translate(None, _LETTERS + b"=")
    if illegal:
        if b"://" in text[:16]:
            raise Unreadable("a URL, which is not fetched: send the picture itself")
        raise Unreadable(_no_letter(illegal[0]))
    letters = text.rstrip(b"=")
    if text and not letters:
        raise Unreadable("base64 of nothing but padding")
    if b"=" in letters:
        raise Unreadable(
            "base64 with padding in its middle: encode the picture as a whole, "
            "or in pieces of a multiple of 3 bytes"
        )
    if len(letters) % 4 == 1:
        raise Unreadable("base64 that is cut off: it is never one character longer than a multiple of 4")
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4)), notes


def _standard(text: bytes) -> bytes:
    """The text in base64's first alphabet, without layout."""
    return text.translate(_FROM_URL_ALPHABET, _LAYOUT)


def _with_pluses(text: bytes) -> Tuple[bytes, Notes]:
    """Tell spaces that are layout from those that a form's decoding has made of each +.

    Dropping the latter would shift all bits behind them, and what came out might still show something.
    """
    layout = text.replace(b" ", b"")
    if b"+" in text or b"-" in text or text.count(b" ") + text.count(b"\n") > max(64, len(text) // 16):
        return layout, ()  # of all characters, one in 64 is a +
    joined = b"".join(line.strip() for line in text.splitlines())
    pieces = joined.split(b" ")
    folded = len(pieces[0]) % 4 == 0 and len({len(piece) for piece in pieces[:-1]}) == 1
    if len(pieces) == 1 or folded or len(b"".join(pieces)) % 4 == 0 != len(joined) % 4:
        return layout, ()
    return joined.replace(b" ", b"+"), (PLUSES_LOST,)


def _unescaped(text: bytes) -> bytes:
    """The text without the escapes of a URL, and without those of a JSON in a JSON."""
    text = percent_decoded(text)
    if b"\\" in text:
        text = text.replace(b"\\r", b"").replace(b"\\n", b"").replace(b"\\/", b"/")
    return text
