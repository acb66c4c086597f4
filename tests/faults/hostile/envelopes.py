"""JSON around an image, or around anything else."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, Iterator

from tests.faults.hostile import containers as c
from tests.faults.hostile.kind import RESULT, Kind, without_id


def envelopes(good: bytes) -> Iterator[Kind]:
    """JSON that breaks the contract."""
    image = base64.b64encode(good).decode()
    invalid: Dict[str, Any] = {
        "no image": {},
        "no image, but others' fields": {"img": image},
        "null": {"image": None},
        "a number": {"image": 1},
        "a list": {"image": [image]},
        "an object": {"image": {"image": image}},
        "true": {"image": True},
        "no base64": {"image": "%%%"},
        "base64 with line breaks": {"image": image[:76] + "\n" + image[76:]},
        "base64 of another alphabet": {"image": "-_" * 100},
        "base64 without its padding": {"image": "QQ"},
        "padding alone": {"image": "===="},
        "letters that are not ASCII": {"image": "ÄÖÜ€"},
        "a data URI without base64": {"image": "data:image/jpeg,%FF%D8%FF"},
        "a data URI cut off": {"image": "data:image/jpeg;base64"},
        "a data URI of 200,000 parameters": {"image": "data:" + ";a=b" * 200_000},
        "a URL": {"image": "http://169.254.169.254/latest/meta-data"},
        "a file's URL": {"image": "file:///etc/passwd"},
        "a frame id of 129 letters": {"image": image, "frame_id": "x" * 129},
        "an empty frame id": {"image": image, "frame_id": ""},
        "a frame id with control characters": {"image": image, "frame_id": "a\x1b[2J\nb"},
        "a frame id with a space": {"image": image, "frame_id": "a b"},
        "a frame id with an emoji": {"image": image, "frame_id": "\U0001f4a5"},
        "a frame id of 900,000 letters": {"image": image, "frame_id": "x" * 900_000},
        "a frame id that is a number": {"image": image, "frame_id": 7},
        "a frame id that is a list": {"image": image, "frame_id": ["x"]},
        "captured yesterday": {"image": image, "captured_at": "yesterday"},
        "captured without a time zone": {"image": image, "captured_at": "2026-01-02T03:04:05"},
        "captured in the year 10000": {"image": image, "captured_at": "10000-01-01T00:00:00Z"},
        "captured before the year 1 of UTC": {"image": image, "captured_at": "0001-01-01T00:00:00+23:59"},
        "captured on the 31st of February": {"image": image, "captured_at": "2026-02-31T00:00:00Z"},
        "captured at 1e308": {"image": image, "captured_at": 1e308},
        "captured at a list": {"image": image, "captured_at": []},
    }
    for name, fields in invalid.items():
        yield Kind(f"JSON: {name}", json.dumps(fields).encode(), "invalid_envelope")


def envelopes_of_nonsense(good: bytes) -> Iterator[Kind]:
    """Texts that only begin like JSON, and good JSON around what is no picture."""
    image = base64.b64encode(good)
    around = b'{"image": "' + image + b'", "x": %s}'
    for name, payload in {
        "a brace": b"{",
        "a brace and zeros": b"{" + bytes(1000),
        "an object cut off": b'{"image": "' + image,
        "something behind the object": b'{"image": "' + image + b'"} {',
        "100,000 lists in each other": around % (b"[" * 100_000),
        "100,000 objects in each other": b'{"image":' * 100_000,
        "closed lists, 100,000 deep": around % (b"[" * 100_000 + b"]" * 100_000),
        "bytes that are not UTF-8": b'{"image": "\xff\xfe\x80"}',
        "UTF-8 longer than it must be": b'{"image": "\xc0\xaf"}',
        "half a surrogate pair": b'{"image": "\\ud800"}',
        "a control character": b'{"image": "\x00"}',
        "an escape that is none": b'{"image": "\\x41"}',
        "single quotes": b"{'image': 'x'}",
        "a comment": b"{/* */}",
        "a key that is no string": b"{1: 2}",
    }.items():
        yield Kind(f"JSON: {name}", payload, "invalid_envelope")
    # Fields of nobody are ignored, but whether such values are JSON at all is not agreed on.
    for name, value in {
        "NaN": b"NaN",
        "an infinite number": b"1e999",
        "a number of 5,000 digits": b"9" * 5000,
    }.items():
        yield Kind(f"JSON: {name} beside the image", around % value, f"invalid_envelope {RESULT}")
        yield Kind(f"JSON: {name} for the image", b'{"image": ' + value + b"}", "invalid_envelope")
    for name, text in {"a list": b"[1, 2]", "a string": b'"{}"', "a number": b"42", "null": b"null"}.items():
        yield Kind(f"JSON: {name}, and no object", text, "not_an_image")
    yield Kind("JSON: behind a byte order mark", b"\xef\xbb\xbf" + around % b"1", "not_an_image")
    yield Kind("JSON: in UTF-16", (around % b"1").decode().encode("utf-16"), "not_an_image")
    yield from _wrapped(good)


def _wrapped(good: bytes) -> Iterator[Kind]:
    def envelope(content: bytes, prefix: str = "", **fields: str) -> bytes:
        return json.dumps({"image": prefix + base64.b64encode(content).decode(), **fields}).encode()

    yield Kind("JSON: an empty image", b'{"image": ""}', "empty")
    yield Kind("JSON: a data URI of nothing", b'{"image": "data:image/jpeg;base64,"}', "empty")
    yield Kind("JSON: around a text", envelope(b"hello"), "not_an_image")
    yield Kind("JSON: around JSON", envelope(envelope(good)), "not_an_image")
    yield Kind("JSON: around 700 kB of zeros", envelope(bytes(700_000)), "not_an_image")
    yield Kind("JSON: around half a JPEG", envelope(good[:50]), "corrupt_image")
    bomb = c.png(c.ihdr(65535, 65535), c.idat(b""))
    yield Kind("JSON: around a PNG of 65535 x 65535", envelope(bomb), "image_too_large")
    yield Kind(
        "JSON: a PDF's data URI", envelope(b"%PDF-1.7\n", "data:application/pdf;base64,"), "not_an_image"
    )
    yield Kind("JSON: an HTML's data URI, of a JPEG", envelope(good, "data:text/html;base64,"), RESULT)
    twice = b'{"image": "%%%", "image": "' + base64.b64encode(good) + b'"}'
    yield Kind("JSON: two images, the second good", twice, f"invalid_envelope {RESULT}")
    yield Kind("JSON: other bytes in an unknown field", envelope(good, junk="\x00\u202e" * 1000), RESULT)
    yield Kind(
        "JSON: another id than the property's",
        lambda frame_id: envelope(good, frame_id=frame_id),
        RESULT,
        user_properties=lambda frame_id: [("frame-id", f"not-{frame_id}")],
    )
    yield Kind(
        "JSON: its own id, and half a JPEG",
        lambda frame_id: envelope(good[:50], frame_id=frame_id),
        "corrupt_image",
        user_properties=without_id,
    )
