"""Pictures without this fleet's envelope, as cameras, flows and browsers send them."""

from __future__ import annotations

import base64
import codecs
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.payload.pictures import JPEG, OURS, PNG, TEXT, URI, WEBP, part
from worker.errors import EmptyPayload, FrameError
from worker.payload.reader import SEVERAL_PICTURES, open_payload


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
