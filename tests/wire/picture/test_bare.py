"""JPEGs that are nothing but a picture, and what else may be in one."""

from __future__ import annotations

import io
from typing import Any, Dict

import pytest
from PIL import Image

from wire.picture.bare import is_bare

TEXT = b"52.5163 N 13.3777 E"
#: Orientation, and a text that names a place.
EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, TEXT.decode()


def written(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 80).convert("RGB").save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"quality": 95, "subsampling": 0, "optimize": True}, {"dpi": (72, 72)}]
)
def test_what_cameras_and_programs_write_is_bare(options: Dict[str, Any]) -> None:
    assert is_bare(written(**options))


@pytest.mark.parametrize(
    "options",
    [{"exif": EXIF}, {"icc_profile": b"profile" * 20}, {"comment": TEXT}],
    ids=["EXIF", "ICC", "comment"],
)
def test_what_names_a_place_is_not(options: Dict[str, Any]) -> None:
    assert not is_bare(written(**options))


def test_a_late_comment_is_not() -> None:
    plain = written()
    assert not is_bare(plain[:-2] + b"\xff\xfe\x00\x15" + TEXT + plain[-2:])


def test_what_stands_behind_a_picture_or_is_cut_is_not() -> None:
    plain = written()
    assert not is_bare(plain + TEXT)
    assert not is_bare(plain + plain)
    for end in (*range(40), len(plain) - 3):
        assert not is_bare(plain[:end])
