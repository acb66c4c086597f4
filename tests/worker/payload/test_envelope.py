"""Pictures in JSON: where they are found, what comes along, and what is refused."""

from __future__ import annotations

import base64
import codecs
import contextlib
import json
from typing import Any, Dict, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.payload.pictures import BUFFER, JAVA, JPEG, OURS, PNG, TEXT, TYPED_ARRAY, URI, part
from worker.errors import EmptyPayload, FrameError, InvalidEnvelope
from worker.payload.envelope import FOUND_ELSEWHERE, SEVERAL_FOUND
from worker.payload.reader import open_payload

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
