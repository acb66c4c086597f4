"""The contents of a payload, and how pictures begin."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence, Tuple, Union

from worker.errors import InvalidEnvelope

#: JPEG, PNG, and RIFF, the container of WebP.
PICTURES = (b"\xff\xd8", b"\x89PNG", b"RIFF")
#: Another format, known here so that the decoder can name it.
_OTHERS = (b"GIF8",)
#: Bytes without a meaning of their own around a picture or a text.
BLANK = b"\0 \t\r\n\v\f"


class Contents(NamedTuple):
    """The contents of a payload.

    Attributes:
        image: a picture's bytes; or bytes of something else, which the decoder will name.
        metadata: the JSON objects around the picture, the nearest first.
        notes: what was assumed to get at the picture.
    """

    image: bytes
    metadata: Sequence[Mapping[str, Any]] = ()
    notes: Tuple[str, ...] = ()


class Unreadable(InvalidEnvelope):
    """A text, JSON or list that was surely meant as a picture, and is not one; says why."""


class NotJson(Unreadable):
    """It begins as JSON, and is none."""


def begins_as_picture(data: bytes) -> bool:
    """Whether bytes, after blanks, begin with the signature of an image format."""
    return data[:256].lstrip(BLANK).startswith((*PICTURES, *_OTHERS))


def shown(value: Union[bytes, object]) -> str:
    """A stranger's value in a few printable ASCII characters, for a log or an answer."""
    if isinstance(value, (dict, list)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        return ascii(value[:40])[:80] + ("..." if len(value) > 40 else "")
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of many digits"
    return text[:40]
