"""JSON around a picture -> the picture and what stands beside it.

{"image": TEXT, "frame_id": …, "captured_at": …}         as this fleet's topics want it
{"payload": {"image": TEXT}, "frame_id": …}              as flows wrap it
{"type": "Buffer", "data": [255, 216, …]}                as JavaScript writes bytes
"""

from __future__ import annotations

import array
import json
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from pydantic_core import from_json

from worker.payload.contents import Contents, NotJson, Unreadable, begins_as_picture
from worker.payload.text import looks_like_picture, read_text

#: Where a picture is looked for first, at each level; then it is wherever a value begins as one.
NAMES = ("image", "payload", "data", "message", "msg", "body", "content")
_LONGEST_NAME = max(map(len, NAMES))
SEVERAL_FOUND = "image: more than one picture in the JSON that may be meant: the first was taken"
#: Characters of a picture's base64, at least: a name or an id needs no look.
_SHORTEST = 64
FOUND_ELSEWHERE = "image: holds no JPEG, PNG or WebP: the picture was taken from another field"
#: Objects in each other, at most.
_DEPTH = 4
#: Lists and objects in a document, and fields with a name, at most: each costs many times its own length.
#: A picture's text may hold their characters, one in 64 of them; an object of its bytes has a name for each.
_MOST_CONTAINERS, _MOST_NAMES = 250_000, 1_000_000
#: Digits of a number, at most: to convert more takes time that grows with their square.
_DIGITS = 40

#: Python's spellings that are not JSON's.
_PYTHON = (
    (b": b'", b": '"),
    (b"'", b'"'),
    (b": None", b": null"),
    (b": True", b": true"),
    (b": False", b": false"),
)

_Bytes = Union[str, List[Any], Dict[str, Any]]


class _Found(NamedTuple):
    """A value that may be a picture: base64, a list of bytes, or an object with a byte at each index."""

    value: _Bytes
    metadata: Tuple[Mapping[str, Any], ...]
    #: The field's name, or that of an object around it, is `image`; and whether it is its own.
    called_image: bool
    is_image: bool


def parse(document: bytes) -> Any:
    """Read JSON, tolerant of what may stand beside a picture: NaN, half an emoji, another encoding.

    A dict as Python or a template prints it is taken as well, if it has no other quotes than 'these'.

    Raises:
        NotJson: it is not JSON, or has too many parts to be read.
    """
    if document.count(b"[") + document.count(b"{") > _MOST_CONTAINERS or document.count(b":") > _MOST_NAMES:
        raise NotJson("not JSON that can be read: too many lists, objects or fields")
    try:
        return from_json(document)
    except ValueError:
        pass  # the slower reader takes more, and says what is wrong in plainer words
    if b'"' not in document:
        for python, json_name in _PYTHON:
            document = document.replace(python, json_name)
    try:
        return _TOLERANT.decode(document.decode("utf-8", "replace"))
    except RecursionError:
        raise NotJson("not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"not JSON: {error}") from None


def _integer(digits: str) -> Union[int, float]:
    return int(digits) if len(digits) <= _DIGITS else float("inf")


_TOLERANT = json.JSONDecoder(strict=False, parse_int=_integer)


def open_json(root: Any) -> Optional[Contents]:
    """Find the picture in what `parse` returned; None if nothing in it may be one.

    Raises:
        Unreadable: what must be the picture cannot be read.
    """
    meant: Optional[_Found] = None
    first: Optional[_Found] = None
    notes: Tuple[str, ...] = ()
    for found in _candidates(root, (), "", False, _DEPTH):
        if not _looks(found.value):
            meant = meant or (found if found.called_image else None)
        elif first is None or (found.called_image and not first.called_image):
            first, notes = found, ()
            if found.is_image:
                break  # as the contract has it, whatever else there is
        elif found.called_image == first.called_image:
            notes = (SEVERAL_FOUND,)
    if first is None:
        return None if meant is None else _read(meant)
    if meant is not None and not first.called_image:
        notes = (FOUND_ELSEWHERE, *notes)
    contents = _read(first)
    return contents._replace(notes=contents.notes + notes)


def _candidates(
    value: Any, around: Tuple[Mapping[str, Any], ...], name: str, within_image: bool, depth: int
) -> Iterator[_Found]:
    is_image = name.lower() == "image"
    called_image = within_image or is_image
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, dict)):
        value = value[0]
    if isinstance(value, str) and value[:64].lstrip()[:1] == "{":
        value = _parsed_again(value)
    if _is_leaf(value):
        yield _Found(value, around, called_image, is_image)
    elif isinstance(value, dict) and depth:
        inside = (value, *around)
        for field in _by_name(value):
            yield from _candidates(value[field], inside, field, called_image, depth - 1)


def _by_name(fields: Dict[str, Any]) -> Iterator[str]:
    """The names of fields: `image` first, then those that wrap pictures, in their order, then the others."""
    spelt: Dict[str, str] = {}
    for name in fields:  # which may be a million
        if len(name) <= _LONGEST_NAME and name.lower() in NAMES:
            spelt.setdefault(name.lower(), name)
    for name in NAMES:
        if name in spelt:
            yield name if name in fields else spelt[name]
    yield from (name for name in fields if name.lower() not in NAMES)


def _is_leaf(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and not isinstance(value[0], dict)
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("0"), int))


def _parsed_again(text: str) -> Any:
    """JSON that was put into JSON as a text."""
    try:
        return parse(text.encode("utf-8", "replace"))
    except NotJson:
        return text


def _looks(value: _Bytes) -> bool:
    if isinstance(value, list) and isinstance(value[0], str):
        return _looks(value[0])
    if isinstance(value, str):
        return len(value) >= _SHORTEST and looks_like_picture(value)
    first = value[:64] if isinstance(value, list) else [value.get(str(index)) for index in range(64)]
    begin = bytes(number % 256 for number in first if isinstance(number, int))
    # JSON as a Buffer is a message that a flow has passed on as it came.
    return begins_as_picture(begin) or looks_like_picture(begin) or begin.startswith(b'{"')


def _read(found: _Found) -> Contents:
    try:
        if isinstance(found.value, str):
            image, notes = read_text(found.value)
        else:
            image, notes = _from_numbers(found.value), ()
    except Unreadable as error:
        raise Unreadable(f"image: {error}") from None
    return Contents(image, found.metadata, notes)


def _from_numbers(value: Union[List[Any], Dict[str, Any]]) -> bytes:
    """The bytes of a list; of an object with indexes for keys, as JavaScript writes a Uint8Array."""
    if isinstance(value, dict):
        if any(key != str(index) for index, key in enumerate(value)):
            raise Unreadable("an object whose keys are not the indexes of bytes")
        value = list(value.values())
    if value and isinstance(value[0], str):
        raise Unreadable("several pictures, or texts, in one message: send one picture")
    # Java's bytes have signs.
    readers: Tuple[Callable[[List[Any]], bytes], ...] = (
        bytes,
        lambda numbers: array.array("b", numbers).tobytes(),
    )
    for read in readers:
        try:
            return read(value)
        except (TypeError, ValueError, OverflowError):
            continue
    raise Unreadable(
        "a list that holds something else than bytes; pixels are not taken, but a picture's file is"
    )
