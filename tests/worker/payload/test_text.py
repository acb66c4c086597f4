"""Base64 and data URIs, as senders write them."""

from __future__ import annotations

import base64
import contextlib
import textwrap
import urllib.parse
from typing import Callable, Dict, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.payload.contents import Unreadable
from worker.payload.text import PLUSES_LOST, looks_like_picture, read_text

#: Bytes whose base64 holds every letter, a + and a / among them, and needs padding.
IMAGE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 5 + b"\xff\xd9"
IMAGE += bytes((1 - len(IMAGE)) % 3)
TEXT = base64.b64encode(IMAGE).decode()
URL = base64.urlsafe_b64encode(IMAGE).decode()
MIME = base64.encodebytes(IMAGE).decode()
QUOTED = urllib.parse.quote(TEXT, safe="")

assert TEXT.endswith("==")
assert {"+", "/"} <= set(TEXT)

BASE64: Dict[str, str] = {
    "plain": TEXT,
    "MIME": MIME,
    "MIME, CRLF": MIME.replace("\n", "\r\n"),
    "MIME, CR": MIME.replace("\n", "\r"),
    "PEM's lines": "\n".join(textwrap.wrap(TEXT, 64)),
    "lines with indentation": "\n    ".join(textwrap.wrap(TEXT, 76)),
    "lines with tabs": "\r\n\t".join(textwrap.wrap(TEXT, 76)),
    "folded by spaces": " ".join(textwrap.wrap(TEXT, 76)),
    "blanks around": f" \t\r\n{TEXT}\n \n",
    "NULs behind": f"{TEXT}\0\0",
    "URL alphabet": URL,
    "URL alphabet, no padding": URL.rstrip("="),
    "URL alphabet, lines": "\n".join(textwrap.wrap(URL, 76)),
    "no padding": TEXT.rstrip("="),
    "half the padding": TEXT[:-1],
    "too much padding": f"{TEXT}==",
    "padding on its own line": f"{TEXT.rstrip('=')}\n==",
    "percent-encoded": QUOTED,
    "percent-encoded, small letters": QUOTED.replace("%2B", "%2b")
    .replace("%2F", "%2f")
    .replace("%3D", "%3d"),
    "percent-encoded lines": urllib.parse.quote(MIME, safe=""),
    "double quotes": f'"{TEXT}"',
    "single quotes": f"'{TEXT}'",
    "quotes and a newline": f'"{TEXT}"\n',
    "Python's repr": repr(TEXT.encode()),
    "escaped lines": MIME.replace("\n", "\\n"),
    "escaped lines, CRLF": MIME.replace("\n", "\\r\\n"),
    "escaped slashes": TEXT.replace("/", "\\/"),
}
URIS: Dict[str, str] = {
    "plain": f"data:image/jpeg;base64,{TEXT}",
    "Data:": f"Data:image/jpeg;base64,{TEXT}",
    "DATA:, BASE64": f"DATA:IMAGE/JPEG;BASE64,{TEXT}",
    "no type": f"data:;base64,{TEXT}",
    "base64 in the type's place": f"data:base64,{TEXT}",
    "a parameter": f"data:image/jpeg;charset=utf-8;base64,{TEXT}",
    "base64 before a parameter": f"data:image/jpeg;base64;charset=utf-8,{TEXT}",
    "a quoted parameter": f'data:image/jpeg;name="a.jpg";base64,{TEXT}',
    "a comma in quotes": f'data:image/jpeg;name="a,b.jpg";base64,{TEXT}',
    "base64 in quotes": f'data:image/jpeg;name="a;base64,b.jpg";base64,{TEXT}',
    "an escaped quote": f'data:image/jpeg;name="a\\",b.jpg";base64,{TEXT}',
    "a quote that nothing closes": f'data:image/jpeg;name=17".jpg;base64,{TEXT}',
    "an escaped parameter": f"data:image/jpeg;name=a%20%2C%20b.jpg;base64,{TEXT}",
    "spaces": f"data: image/jpeg ; base64 , {TEXT}",
    "lines": f"data:image/jpeg;base64,\n{MIME}",
    "URL alphabet, no padding": f"data:image/jpeg;base64,{URL.rstrip('=')}",
    "percent-encoded base64": f"data:image/jpeg;base64,{QUOTED}",
    "percent-encoded bytes": "data:image/jpeg," + "".join(f"%{byte:02x}" for byte in IMAGE),
    "percent-encoded by urllib": f"data:image/jpeg,{urllib.parse.quote(IMAGE)}",
    "percent-encoded as a whole": urllib.parse.quote(f"data:image/jpeg;base64,{TEXT}", safe=""),
    "without data:": f"image/jpeg;base64,{TEXT}",
    "without data: and type": f"base64,{TEXT}",
    "quotes": f'"data:image/jpeg;base64,{TEXT}"',
    "a newline before it": f"\ndata:image/jpeg;base64,{TEXT}\n",
}


PNG = b"\x89PNG\r\n\x1a\n" + IMAGE
WEBP = b"RIFF\x10\1\0\0WEBPVP8 " + IMAGE
SPELLINGS: Dict[str, Callable[[bytes], str]] = {
    "hexadecimal": bytes.hex,
    "hexadecimal, capitals": lambda image: image.hex().upper(),
    "0x": lambda image: f"0x{image.hex()}",
    "C#": lambda image: "-".join(f"{byte:02X}" for byte in image),
    "colons": lambda image: ":".join(f"{byte:02x}" for byte in image),
    "C": lambda image: ", ".join(f"0x{byte:02X}" for byte in image),
    "hexadecimal in lines": lambda image: "\n".join(textwrap.wrap(image.hex(), 64)) + "\n",
    "bytes": repr,
    "bytes, a newline": lambda image: f"{image!r}\n",
    "bytearray": lambda image: repr(bytearray(image)),
}


@pytest.mark.parametrize("image", [IMAGE, PNG, WEBP], ids=["JPEG", "PNG", "WebP"])
@pytest.mark.parametrize("form", SPELLINGS)
def test_other_spellings(form: str, image: bytes) -> None:
    """Hexadecimal is base64 as well, of something else."""
    for text in (SPELLINGS[form](image), SPELLINGS[form](image).encode()):
        assert looks_like_picture(text)
        assert read_text(text) == (image, ())


@pytest.mark.parametrize("image", [IMAGE, PNG], ids=["JPEG", "PNG"])
def test_a_character_a_byte(image: bytes) -> None:
    for text in (image.decode("latin-1"), image.decode("latin-1").encode()):
        assert looks_like_picture(text)
        assert read_text(text) == (image, ())


@pytest.mark.parametrize("form", BASE64)
def test_base64(form: str) -> None:
    for text in (BASE64[form], BASE64[form].encode()):
        assert read_text(text) == (IMAGE, ())
        assert looks_like_picture(text)


@pytest.mark.parametrize("form", URIS)
def test_data_uris(form: str) -> None:
    assert read_text(URIS[form]) == (IMAGE, ())
    assert looks_like_picture(URIS[form])


def test_pluses_that_became_spaces_are_pluses_again() -> None:
    """A form's decoding does that; to drop them would make another picture of the rest."""
    assert read_text(TEXT.replace("+", " ")) == (IMAGE, (PLUSES_LOST,))
    assert read_text("data:image/jpeg;base64," + MIME.replace("+", " ")) == (IMAGE, (PLUSES_LOST,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT[:100] + "*" + TEXT[100:], r"'\*' is no character of base64"),
        (TEXT[:100] + "\\" + TEXT[100:], "is no character of base64"),
        (TEXT[:100] + "\0" + TEXT[100:], r"'\\x00' is no character of base64"),
        (TEXT[:100] + "ä" + TEXT[100:], r"'\\xe4' is no character of base64"),
        (TEXT[:100] + "\ud83d" + TEXT[100:], r"'\\ud83d' is no character of base64"),
        (TEXT[:100] + "%" + TEXT[100:], "'%' is no character of base64"),
        (f"data:image/jpeg;base64,{TEXT[:100]}*{TEXT[100:]}", r"'\*' is no character of base64"),
        (IMAGE.hex()[:-1], "hexadecimal that is cut off"),
        (IMAGE.hex() + "xy", "something else than 0 to 9"),
        (IMAGE.hex() + "ä", "a letter that is none"),
        (IMAGE.hex().encode() + "ä".encode(), "something else than 0 to 9"),
        (repr(IMAGE)[:-1] + "\\q'", "an escape that is not Python's"),
        ("\xff\xd8\xff\u20ac", "taken for text on the way"),
        (b"\xc3\xbf\xc3\x98\xc3\xbf\xff", "taken for text on the way"),
        (TEXT + TEXT, "padding in its middle"),
        ("====", "nothing but padding"),
        (TEXT[:401], "cut off"),
        ("kitchen.jpg", r"'\.' is no character of base64"),
        ("http://192.168.1.7/snapshot.jpg", "a URL, which is not fetched"),
        ("data:image/jpeg;base64", "without a comma"),
        ("data:" + ";a=b" * 100_000, "without a comma"),
    ],
)
def test_what_is_neither_is_refused_and_nothing_is_skipped(text: Union[str, bytes], said: str) -> None:
    with pytest.raises(Unreadable, match=said) as raised:
        read_text(text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "this is a text",
        "/9j",
        "42",
        "{}",
        "BM8=",
        "data: 21 degrees, 40 %",
        "data:,hello",
        "ÄÖÜ",
        "....",
        base64.b64encode(bytes(99)).decode(),
    ],
)
def test_what_begins_as_no_picture_does_not_look_like_one(text: str) -> None:
    assert not looks_like_picture(text)
    assert not looks_like_picture(text.encode())


@given(
    st.binary(),
    st.integers(1, 80),
    st.sampled_from(["\n", "\r\n", "\n  ", "\t"]),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes_come_back(image: bytes, width: int, line: str, padded: bool, url: bool) -> None:
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(image).decode()
    text = text if padded else text.rstrip("=")
    assert read_text(line.join(text[at : at + width] for at in range(0, len(text), width)))[0] == image
    assert read_text("data:," + "".join(f"%{byte:02X}" for byte in image))[0] == image


@given(st.one_of(st.binary(), st.text()))
def test_any_text_is_bytes_or_unreadable(text: Union[str, bytes]) -> None:
    looks_like_picture(text)
    with contextlib.suppress(Unreadable):
        assert isinstance(read_text(text)[0], bytes)
