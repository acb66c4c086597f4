"""Pictures without this fleet's envelope, as cameras, flows and browsers send them."""

from __future__ import annotations

import base64
import codecs
import contextlib
import json
from typing import Any, Dict, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import EmptyPayload, FrameError, InvalidEnvelope
from worker.payload.envelope import FOUND_ELSEWHERE, SEVERAL_FOUND
from worker.payload.reader import SEVERAL_PICTURES, open_payload

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 5 + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WEBP = b"RIFF\x10\1\0\0WEBPVP8 " + bytes(range(256))
TEXT = base64.b64encode(JPEG).decode()
URI = f"data:image/jpeg;base64,{TEXT}"
BUFFER: Dict[str, Any] = {"type": "Buffer", "data": list(JPEG)}
TYPED_ARRAY = {str(index): byte for index, byte in enumerate(JPEG)}
JAVA = [byte - 256 if byte > 127 else byte for byte in JPEG]
OURS = {"image": TEXT, "frame_id": "f1"}


def part(headers: str, body: bytes, line: str = "\r\n") -> bytes:
    return f"--frame{line}{headers}{line}{line}".encode() + body + line.encode()


JSON: Dict[str, Any] = {
    "base64": TEXT,
    "a data URI": URI,
    "Node's Buffer": BUFFER,
    "a list of bytes": list(JPEG),
    "a list of Java's bytes": JAVA,
    "a typed array": TYPED_ARRAY,
    "image: base64": {"image": TEXT},
    "image: Node's Buffer": {"image": BUFFER},
    "image: a list of bytes": {"image": list(JPEG)},
    "image: a list of Java's bytes": {"image": JAVA},
    "image: a typed array": {"image": TYPED_ARRAY},
    "image: a list of one": {"image": [TEXT]},
    "payload": {"payload": TEXT, "topic": "camera/1", "_msgid": "a1b2"},
    "payload: Node's Buffer": {"payload": BUFFER, "topic": "camera/1"},
    "payload.image": {"payload": {"image": TEXT}},
    "payload.image, a Buffer": {"payload": {"image": BUFFER}},
    "payload.data": {"payload": {"data": TEXT}},
    "data.image": {"data": {"image": TEXT}},
    "data.image.base64": {"data": {"image": {"base64": TEXT}}},
    "message.payload.image.data": {"message": {"payload": {"image": {"data": TEXT}}}},
    **{f"image.{name}": {"image": {name: TEXT}} for name in ("data", "base64", "b64", "content", "buffer")},
    **{f"image.{name}": {"image": {name: TEXT}} for name in ("bytes", "body", "value", "src", "image")},
    "image.content, a Buffer": {"image": {"content": BUFFER}},
    "image.url": {"image": {"url": URI}},
    "Image.Bytes": {"Image": {"Bytes": TEXT}},
    "image_url": {"type": "image_url", "image_url": {"url": URI}},
    "image.data beside its type": {"image": {"type": "base64", "media_type": "image/jpeg", "data": TEXT}},
    "instances": {"instances": [{"image_bytes": {"b64": TEXT}}]},
    "images of one": {"images": [TEXT]},
    "body": {"body": TEXT, "isBase64Encoded": True},
    "a list of one object": [{"image": TEXT}],
    "JSON in JSON": {"payload": json.dumps({"image": TEXT})},
    "JSON as a string": json.dumps({"image": TEXT}),
    "base64 of base64": {"image": base64.b64encode(TEXT.encode()).decode()},
    "base64 of a multipart": {"image": base64.b64encode(part("A: b", JPEG) + b"--frame--").decode()},
    "names that nobody knows": {"camera": "door", "shots": {"newest": {"as_base64": TEXT}}, "battery": 97},
    "a log beside it": {"log": "data: 21 degrees, " + "and more " * 20, "shot": TEXT},
    "PHP's list": {"0": {"image": TEXT}},
    "a name that is used twice": {"payload": {"battery": 97}, "x": {"payload": TEXT}},
    "Buffer of base64": {"type": "Buffer", "data": list(TEXT.encode())},
    "payload: Buffer of a data URI": {"payload": {"type": "Buffer", "data": list(URI.encode())}},
    "payload: Buffer of JSON": {"payload": {"type": "Buffer", "data": list(json.dumps(OURS).encode())}},
    "base64 of JSON": {"image": base64.b64encode(json.dumps(OURS).encode()).decode()},
    "a histogram beside it": {"histogram": [123, 35, *range(200)], "shot": TEXT},
    "a file's name beside it": {"image": "kitchen.jpg", "payload": TEXT},
}


@pytest.mark.parametrize("form", JSON)
def test_json(form: str) -> None:
    contents = open_payload(json.dumps(JSON[form]).encode())
    assert contents.image == JPEG
    assert contents.notes in ((), (FOUND_ELSEWHERE,))
    assert (contents.notes != ()) == (form == "a file's name beside it")


@pytest.mark.parametrize("around", [list(JPEG), OURS, TEXT], ids=["list", "envelope", "string"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"], ids=str
)
def test_encodings(encoding: str, around: Any) -> None:
    text = json.dumps(around)
    assert open_payload(text.encode(encoding)).image == JPEG
    assert open_payload(f"{text}\r\n\0\0".encode(encoding)).image == JPEG
    if encoding == "utf-16":
        assert open_payload(codecs.BOM_UTF16_BE + text.encode("utf-16-be")).image == JPEG


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(OURS).encode() + b"\0",
        json.dumps(OURS).encode() + b"\0" * 1000,
        json.dumps(OURS).encode() + b'\0"} the rest of an older message',
        b"\r\n" + json.dumps(OURS).encode() + b"\r\n",
        codecs.BOM_UTF8 + b"\n" + json.dumps(OURS).encode() + b"\n\0",
        json.dumps(OURS, indent=4).encode(),
        str({"image": TEXT, "frame_id": 17, "captured_at": None, "motion": True, "x": False}).encode(),
        str({"image": TEXT.encode(), "frame_id": 17}).encode(),
        str([{"image": TEXT}]).encode(),
        *(TEXT.encode(order) for order in ("utf-16-le", "utf-16-be")),
        *(f" \n{URI}".encode(order) for order in ("utf-16-le", "utf-16-be")),
        f' {{"image": "{TEXT}"}}'.encode("utf-16-le"),
        *(spell(JPEG).encode() for spell in (bytes.hex, repr, lambda image: image.decode("latin-1"))),
        *(json.dumps({"image": spell(JPEG)}).encode() for spell in (bytes.hex, repr)),
        json.dumps({"image": JPEG.decode("latin-1")}).encode(),
        TEXT.encode(),
        base64.encodebytes(JPEG),
        base64.urlsafe_b64encode(JPEG).rstrip(b"="),
        f"\n{TEXT}\0".encode(),
        f"'{TEXT}'".encode(),
        f'"{TEXT}'.encode(),
        repr(TEXT.encode()).encode(),
        json.dumps(TEXT).replace("/", "\\/").encode(),
        URI.encode(),
        f"  DATA:;BASE64, {TEXT}\r\n".encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        URI.encode("utf-16"),
        b"data:image/jpeg," + "".join(f"%{byte:02X}" for byte in JPEG).encode(),
        b"data:image/jpeg," + TEXT.encode(),
    ],
)
def test_texts(payload: bytes) -> None:
    contents = open_payload(payload)
    assert (contents.image, contents.notes) == (JPEG, ())


@pytest.mark.parametrize("image", [JPEG, PNG, WEBP], ids=["JPEG", "PNG", "WebP"])
@pytest.mark.parametrize("line", ["\r\n", "\n"], ids=["CRLF", "LF"])
def test_headers_and_boundaries(image: bytes, line: str) -> None:
    end = line.encode()
    esp32 = f"Content-Type: image/jpeg{line}Content-Length: {len(image)}{line}X-Timestamp: 12.000345"
    form = f'Content-Disposition: form-data; name="image"; filename="a.jpg"{line}Content-Type: image/jpeg'
    whole = part(esp32, image, line)
    for payload in (
        image,
        end + image,
        b"\0" * 7 + image,
        f"Content-Type: image/jpeg{line}{line}".encode() + image,
        f"HTTP/1.1 200 OK{line}Content-Type: image/jpeg{line}{line}".encode() + image,
        f"POST /upload?id=1 HTTP/1.1{line}Host: x{line}{line}".encode() + image,
        whole,
        end + whole,
        whole + b"--frame" + end,
        whole + b"--frame--" + end,
        whole + b"--frame--",
        part("", image, line)[: -len(end)],
        f"--frame{line}".encode() + image + end + b"--frame--",
        part(form, image, line) + b"--frame--" + end,
        part('Content-Disposition: form-data; name="frame_id"', b"17", line)
        + part("Content-Type: application/json", b'{"camera": 1}', line)
        + part(form, image, line),
        f"Content-Type: multipart/mixed; boundary=frame{line}{line}".encode() + whole + b"--frame--",
        part("Content-Transfer-Encoding: base64", base64.encodebytes(image), line) + b"--frame--",
        part(
            f"content-type: image/jpeg{line}content-transfer-encoding:BASE64", base64.b64encode(image), line
        ),
        part("Content-Type: text/plain", base64.b64encode(image), line),
        part("Content-Type: application/json", json.dumps({"image": list(image)}).encode(), line),
    ):
        contents = open_payload(payload)
        assert contents.image.startswith(image)
        assert contents.image.rstrip() == image.rstrip()
        assert contents.notes == ()


@pytest.mark.parametrize("size", [1, 7, 500, 10_000])
@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "transfer-encoding:Chunked"])
def test_chunks_of_http_are_joined(size: int, header: str) -> None:
    """Their sizes would be taken for a picture's bytes, which still shows something, and something else."""
    head = f"HTTP/1.1 200 OK\r\n{header}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    sent = [JPEG[at : at + size] for at in range(0, len(JPEG), size)]
    for extension in (b"", b";name=value"):
        chunks = b"".join(b"%X%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in sent)
        assert open_payload(head + chunks + b"0\r\n\r\n").image == JPEG
        assert open_payload(head + chunks).image == JPEG, "the last one is missing"
    assert open_payload(head + JPEG).image == JPEG, "joined already"
    several = b"%x\r\n" % len(JPEG) + JPEG + b"\r\nffff\r\n" + JPEG
    assert open_payload(head + several).image == JPEG + JPEG, "the last one is cut"


def test_of_several_pictures_the_first_is_taken_and_a_note_says_so() -> None:
    contents = open_payload(part("Content-Type: image/jpeg", JPEG) + part("Content-Type: image/png", PNG))
    assert (contents.image, contents.notes) == (JPEG, (SEVERAL_PICTURES,))


def test_of_several_pictures_in_json_the_one_called_image_is_meant() -> None:
    other = base64.b64encode(PNG).decode()
    assert open_payload(json.dumps({"thumbnail": other, "image": TEXT}).encode())[::2] == (JPEG, ())
    assert open_payload(json.dumps({"thumbnail": other, "x": {"image": TEXT}}).encode())[::2] == (JPEG, ())
    assert open_payload(json.dumps({"image": {"small": other, "image": TEXT}}).encode())[::2] == (JPEG, ())
    contents = open_payload(json.dumps({"x": other, "image": {"small": other, "whole": TEXT}}).encode())
    assert (contents.image, contents.notes) == (PNG, (SEVERAL_FOUND,))
    contents = open_payload(json.dumps({"x": other, "image": {"whole": TEXT}}).encode())
    assert (contents.image, contents.notes) == (JPEG, ())
    contents = open_payload(json.dumps({"thumbnail": other, "whole": TEXT}).encode())
    assert (contents.image, contents.notes) == (PNG, (SEVERAL_FOUND,))


def test_what_stands_beside_the_picture_at_each_level_comes_along() -> None:
    document = {"frame_id": "outer", "payload": {"frame_id": "inner", "image": {"data": TEXT}}}
    metadata = open_payload(json.dumps(document).encode()).metadata
    assert [each.get("frame_id") for each in metadata] == [None, "inner", "outer"]
    passed_on = {
        "frame_id": "flow",
        "payload": {"type": "Buffer", "data": list(json.dumps(document).encode())},
    }
    metadata = open_payload(json.dumps(passed_on).encode()).metadata
    assert [each["frame_id"] for each in metadata if "frame_id" in each] == ["inner", "outer", "flow"]


@pytest.mark.parametrize(
    "beside",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b'"\\ud83d"',
        b'"K\xfcche"',
        b'"a\tb"',
        b"[" * 400 + b"]" * 400,
    ],
)
def test_odd_values_beside_the_picture_do_not_cost_it(beside: bytes) -> None:
    payload = b'{"x": %s, "image": "%s", "frame_id": %s}' % (beside, TEXT.encode(), beside)
    assert open_payload(payload).image == JPEG


def test_of_a_key_that_comes_twice_the_second_counts() -> None:
    assert open_payload(b'{"image": "%%%%", "image": "%s"}' % TEXT.encode()).image == JPEG


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        ({}, InvalidEnvelope, "no picture in the JSON"),
        ({"payload": {"temperature": 21}}, InvalidEnvelope, "no picture in the JSON"),
        ({"message": "motion"}, InvalidEnvelope, "no picture in the JSON"),
        ({"image": None}, InvalidEnvelope, "no picture in the JSON"),
        ({"image": 1}, InvalidEnvelope, "no picture in the JSON"),
        ({"image": "kitchen.jpg"}, InvalidEnvelope, "no character of base64"),
        ({"image": "https://camera/snapshot.jpg"}, InvalidEnvelope, "a URL, which is not fetched"),
        ({"image": TEXT[:80] + "?" + TEXT[80:]}, InvalidEnvelope, "no character of base64"),
        ({"payload": TEXT[:80] + "?" + TEXT[80:]}, InvalidEnvelope, "no character of base64"),
        (TEXT[:80] + "?" + TEXT[80:], InvalidEnvelope, "no character of base64"),
        ({"image": [255, 216, 256]}, InvalidEnvelope, "something else than bytes"),
        ({"image": [255, 216, -1]}, InvalidEnvelope, "something else than bytes"),
        ({"image": [255, 216, "x"]}, InvalidEnvelope, "something else than bytes"),
        ({"image": [255, 216, None]}, InvalidEnvelope, "something else than bytes"),
        ({"image": [255, 216, 10**30]}, InvalidEnvelope, "something else than bytes"),
        ({"image": [[[255, 216, 255]]]}, InvalidEnvelope, "pixels are not taken"),
        ({"image": {"0": 255, "2": 216}}, InvalidEnvelope, "not the indexes of bytes"),
        ({"images": [TEXT, TEXT]}, InvalidEnvelope, "several pictures"),
        ({"image": ""}, EmptyPayload, "no bytes"),
        ({"image": "data:image/jpeg;base64,"}, EmptyPayload, "no bytes"),
        ({"a": {"b": {"c": {"d": {"image": TEXT}}}}}, InvalidEnvelope, "no picture in the JSON"),
        ({"unknown": TEXT[:80] + "?" + TEXT[80:]}, InvalidEnvelope, "no character of base64"),
    ],
)
def test_json_without_a_picture_is_refused(document: Any, error: Type[FrameError], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        open_payload(json.dumps(document).encode())
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"\0", b"hello", b"this is a text", b"42", b"null"),
        *(b"[1, 2]", b'"{}"', b'"hello"', b"[", b'"', b"--"),
        *(bytes(1000), b" " * 1000, b"[" * 100_000, b"GIF89a" + bytes(99)),
        b"\xff\xfe" + bytes(99),
        *(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n", b"--frame\r\n", b"--frame\r\n"),
        *(b"a: b\r\n\r\n", b"temperature: 21\n\nhumidity: 40\n", codecs.BOM_UTF8, "hello".encode("utf-16")),
    ],
)  # fmt: skip
def test_anything_else_goes_on_as_it_is(payload: bytes) -> None:
    """The decoder says what it is."""
    if payload:
        assert open_payload(payload).image == payload
    else:
        with pytest.raises(EmptyPayload):
            open_payload(payload)


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(TEXT), st.just(URI)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["image", "payload", "data", "0", "1", "frame_id", "x"]), inner),
    ),
)


@given(_values)
def test_any_json_is_contents_or_a_frame_error(document: Any) -> None:
    with contextlib.suppress(FrameError):
        assert open_payload(json.dumps(document).encode()).image


@given(
    st.sampled_from(
        [
            b"",
            b"{",
            b"[",
            b'"',
            b"--a\r\n",
            b"data:",
            b"/9j/",
            b"ffd8ff",
            b"b'\\xff\\xd8",
            b"\xff\xfe",
            b"a: b\r\n\r\n",
        ]
    ),
    st.binary(),
)
def test_any_bytes_are_contents_or_a_frame_error(begin: bytes, payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert open_payload(begin + payload).image


@pytest.mark.parametrize(
    "payload",
    [
        b"[" + b",".join([b"255", b"216"] + [b"0"] * 2_000_000) + b"]",
        b'{"x": NaN, "image": [' + b",".join([b"255", b"216"] + [b"0"] * 2_000_000) + b"]}",
        b'{"image":' * 100_000,
        b'{"image": "' + TEXT.encode() + b'", "x": ' + b"[" * 2_000_000,
        b'{"image": "' + TEXT.encode() + b'", "frame_id": ' + b"9" * 4_000_000 + b"}",
        b"/9j/" + b"A " * 2_000_000,
        b"/9j/" + b"%41A" * 1_000_000,
        b"data:image/png," + b"%41a" * 1_000_000,
        b"data:image/png;" + b'"\\' * 2_000_000,
        b"data:image/png," + b"%" * 4_000_000,
        b"ff-d8-ff-" * 1_000_000,
        b"0x" * 4_000_000,
        b"b'\\xff\\xd8\\xff" + b"\\x41A\\\\" * 1_000_000,
        "\xff\xd8".encode() * 2_000_000,
        b"{'image': " + b": None'" * 1_000_000,
        b"A:b\nTransfer-Encoding: chunked\n\n" + b"1\n" * 4_000_000,
        b"--a\n" + b"\n--a\n" * 800_000,
        b"--a\n" + b"A:b\n" * 1_000_000,
        b"--" * 2_000_000,
    ],
    ids=lambda payload: ascii(payload[:20]),
)
def test_no_payload_takes_time_that_grows_with_its_square(payload: bytes) -> None:
    """Each of these would take hours where it did: that it ends is the test."""
    with contextlib.suppress(FrameError):
        assert open_payload(payload).image
