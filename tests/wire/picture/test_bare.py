"""Files that are nothing but a picture, and what else may be in one."""

from __future__ import annotations

import io
from typing import Any, Dict

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wire.picture.bare import is_bare

TEXT = b"52.5163 N 13.3777 E"
#: Orientation, and a text that names a place.
EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, TEXT.decode()
KINDS = ["JPEG", "PNG", "WEBP"]


def written(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 80).convert("RGB").save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}),
        ("JPEG", {"dpi": (72, 72)}),
        ("PNG", {}),
        ("PNG", {"dpi": (72, 72)}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_what_cameras_and_programs_write_is_bare(kind: str, options: Dict[str, Any]) -> None:
    assert is_bare(written(kind, **options), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"exif": EXIF}, {"icc_profile": b"profile" * 20}], ids=["EXIF", "ICC"])
def test_what_names_a_place_is_not(kind: str, options: Dict[str, Any]) -> None:
    assert not is_bare(written(kind, **options), kind)


def test_comments_and_texts_are_not() -> None:
    text = PngInfo()
    text.add_text("place", TEXT.decode())
    assert not is_bare(written("PNG", pnginfo=text), "PNG")
    assert not is_bare(written("JPEG", comment=TEXT), "JPEG")
    plain = written("JPEG")
    late = plain[:-2] + b"\xff\xfe\x00\x15" + TEXT + plain[-2:]
    assert not is_bare(late, "JPEG")


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_behind_a_picture_or_is_cut_is_not(kind: str) -> None:
    plain = written(kind)
    assert not is_bare(plain + TEXT, kind)
    assert not is_bare(plain + plain, kind)
    for end in (*range(40), len(plain) - 3):
        assert not is_bare(plain[:end], kind)
