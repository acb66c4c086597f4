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
        "null": {"image": None},
        "a number": {"image": 1},
        "true": {"image": True},
        "no base64": {"image": "%%%"},
        "base64 with a letter too many": {"image": image[:77] + "*" + image[77:]},
        "base64 with a NUL inside": {"image": image[:77] + "\0" + image[77:]},
        "base64 twice": {"image": base64.b64encode(good + bytes((1 - len(good)) % 3)).decode() * 2},
        "base64 that is cut off": {"image": image[:77]},
        "padding alone": {"image": "===="},
        "letters that are not ASCII": {"image": "ÄÖÜ€"},
        "a data URI cut off": {"image": "data:image/jpeg;base64"},
        "a data URI of 200,000 parameters": {"image": "data:" + ";a=b" * 200_000},
        "a data URI of 200,000 quotes": {"image": "data:" + '"\\' * 200_000},
        "a URL": {"image": "http://169.254.169.254/latest/meta-data"},
        "a file's URL": {"image": "file:///etc/passwd"},
        "two images": {"images": [image, image]},
        "a list of 300s": {"image": [255, 216, 300]},
        "a list of huge numbers": {"image": [255, 216, 10**200]},
        "a list of texts and numbers": {"image": [255, "x"]},
        "pixels": {"image": [[[255, 216, 255]] * 100] * 100},
        "a Buffer of pixels": {"image": {"type": "Buffer", "data": [[255]]}},
        "a typed array with a hole": {"image": {"0": 255, "2": 216}},
        "the image too deep": {"payload": {"data": {"message": {"body": {"value": {"image": image}}}}}},
        "a million levels of JSON in JSON": {"payload": '{"payload": "{' * 50_000},
    }
    for name, fields in invalid.items():
        yield Kind(f"JSON: {name}", json.dumps(fields).encode(), "invalid_envelope")
    for name, fields in _odd(good, image).items():
        # What a list or a text does not say to the end is said by the decoder.
        yield Kind(f"JSON: {name}", json.dumps(fields).encode(), "not_an_image corrupt_image")
    others = json.dumps({"pic": image, "thumbnail": image, **{str(n): "x" * 70 for n in range(1, 9000)}})
    yield Kind("JSON: 9,000 fields of others", others.encode(), RESULT)
    yield from _with_metadata(image)


def _odd(good: bytes, image: str) -> Dict[str, Any]:
    return {
        "base64 of another alphabet": {"image": "-_" * 100},
        "base64 without its padding": {"image": "QQ"},
        "a data URI without base64": {"image": "data:image/jpeg,%FF%D8%FF"},
        "a data URI of percents": {"image": "data:," + "%" * 200_000},
        "a data URI of half-encoded bytes": {"image": "data:," + "%41a" * 200_000},
        "base64 of spaces": {"image": "A " * 200_000},
        "base64 of newlines": {"image": "AAAA" + "\n" * 400_000},
        "half a picture as a list": {"image": list(good[:50])},
        "half a picture as a Buffer": {"type": "Buffer", "data": list(good[:50])},
        "half a picture as a typed array": {str(index): byte for index, byte in enumerate(good[:50])},
        "a list of 300,000 zeros": {"image": [0] * 300_000},
    }


def _with_metadata(image: str) -> Iterator[Kind]:
    """A good picture beside fields that cannot be used: they are dropped, and the picture answered."""
    ids: Dict[str, Any] = {
        "a frame id of 129 letters": "x" * 129,
        "an empty frame id": "",
        "a frame id with control characters": "a\x1b[2J\nb",
        "a frame id with a space": "a b",
        "a frame id with an emoji": "\U0001f4a5",
        "a frame id that is half an emoji": "\ud83d",
        "a frame id of 900,000 letters": "x" * 900_000,
        "a frame id that is a list": ["x"],
        "a frame id that is an object": {"x": {"x": 1}},
        "a frame id of 4,000 digits": 10**4000,
        "a frame id that is true": True,
    }
    times: Dict[str, Any] = {
        "captured yesterday": "yesterday",
        "captured without a time zone": "2026-01-02T03:04:05",
        "captured in the year 10000": "10000-01-01T00:00:00Z",
        "captured before the year 1 of UTC": "0001-01-01T00:00:00+23:59",
        "captured on the 31st of February": "2026-02-31T00:00:00Z",
        "captured at 1e308": 1e308,
        "captured at NaN": float("nan"),
        "captured at minus infinity": float("-inf"),
        "captured at a list": [],
        "captured at 400,000 digits": "9" * 400_000,
    }
    for field, values in (("frame_id", ids), ("captured_at", times)):
        for name, value in values.items():
            yield Kind(f"JSON: {name}", json.dumps({"image": image, field: value}).encode(), RESULT)


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
    yield from _in_other_encodings((around % b"1").decode())
    yield from _without_envelope(good)
    yield from _wrapped(good)


def _in_other_encodings(text: str) -> Iterator[Kind]:
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield Kind(f"JSON: in {encoding}", text.encode(encoding), RESULT)
    yield Kind("JSON: in UTF-16, cut in a letter", text.encode("utf-16")[:-1], "invalid_envelope")
    yield Kind("JSON: NULs and an older message behind it", text.encode() + b'\0\0"} {"image"', RESULT)
    yield Kind("JSON: a byte order mark alone", b"\xef\xbb\xbf", "not_an_image")
    yield Kind("JSON: a byte order mark and noise", b"\xff\xfe" + bytes(range(256)) * 1000, "not_an_image")


def _without_envelope(good: bytes) -> Iterator[Kind]:
    """Lists, texts and multiparts that hold a picture, or seem to."""
    text, numbers = base64.b64encode(good), json.dumps(list(good)).encode()
    boundary = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    base64_part = b"--frame\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    for name, payload in {
        "a list of bytes": numbers,
        "Node's Buffer": b'{"type": "Buffer", "data": %s}' % numbers,
        "base64": text,
        "base64 in MIME's lines": base64.encodebytes(good),
        "a data URI": b"data:image/jpeg;base64," + text,
        "a multipart": b"\r\n" + boundary + good + b"\r\n--frame--\r\n",
        "a multipart of base64": base64_part + text + b"\r\n--frame--",
        "a multipart with 10,000 parts behind it": boundary + good + b"\r\n--frame\r\n" * 10_000,
        "hexadecimal": good.hex().encode(),
        "a literal of bytes": repr(good).encode(),
        "a character a byte": good.decode("latin-1").encode(),
        "base64 in UTF-16 without a mark": text.decode().encode("utf-16-be"),
        "HTTP in chunks": b"A: b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(good)
        + good
        + b"\r\n0\r\n",
        "HTTP": b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + good,
    }.items():
        yield Kind(f"no envelope: {name}", payload, RESULT)
    for name, payload in {
        "a list of 400,000 zeros": b"[" + b"0," * 400_000 + b"0]",
        "a list that nothing closes": b"[" + b"255," * 200_000,
        "100,000 lists": b"[" * 100_000,
        "a multipart of nothing": b"--frame\r\n" * 80_000,
        "a multipart of text": boundary + b"hello\r\n--frame--",
        "a multipart in a multipart, 10,000 deep": b"".join(b"--%d\r\n\r\n" % n for n in range(10_000)),
        "a multipart whose base64 is broken": base64_part + text[:50] + b"*\r\n--frame--",
        "chunks of nothing": b"A: b\nTransfer-Encoding: chunked\n\n" + b"1\n" * 200_000,
        "100,000 headers": b"A: b\r\n" * 100_000,
        "one header of 900,000 letters": b"A: " + b"b" * 900_000 + b"\r\n\r\n" + good,
        "dashes": b"--" * 400_000,
        "a quote that nothing closes": b'"' + b"x" * 100_000,
    }.items():
        yield Kind(f"no envelope: {name}", payload, "not_an_image")
    for name, payload in {
        "base64 with a letter too many": text[:77] + b"*" + text[77:],
        "base64 with padding inside": text[:76] + b"==" + text[76:],
        "a data URI cut off": b"data:image/jpeg;base64",
        "a list with a 300": b"[255, 216, 255, 300]",
        "hexadecimal with a letter that is none": good.hex().encode() + b"x0",
        "hexadecimal that is cut off": good.hex().encode()[:-1],
        "a literal with another escape": b"b'\\xff\\xd8\\xff" + b"\\" * 99_999 + b"'",
        "a character a byte, and a broken one": b"\xc3\xbf\xc3\x98\xc3\xbf" + bytes(99) + b"\xff",
    }.items():
        yield Kind(f"no envelope: {name}", payload, "invalid_envelope")
    yield Kind("no envelope: half a picture in base64", base64.b64encode(good[:48]), "corrupt_image")
    yield Kind("no envelope: an empty data URI", b"data:image/jpeg,", "empty")


def _wrapped(good: bytes) -> Iterator[Kind]:
    def envelope(content: bytes, prefix: str = "", **fields: str) -> bytes:
        return json.dumps({"image": prefix + base64.b64encode(content).decode(), **fields}).encode()

    yield Kind("JSON: an empty image", b'{"image": ""}', "empty")
    yield Kind("JSON: a data URI of nothing", b'{"image": "data:image/jpeg;base64,"}', "empty")
    yield Kind("JSON: around a text", envelope(b"hello"), "not_an_image")
    yield Kind("JSON: around JSON", envelope(envelope(good)), RESULT)
    deep = envelope(envelope(envelope(envelope(envelope(good)))))
    yield Kind("JSON: around JSON around JSON, five times", deep, "not_an_image")
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
