"""The limits are on what decoding costs, not on what a header says."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from wire.picture.decoding import decode_picture
from wire.picture.errors import Undecodable


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def phone() -> Image.Image:
    """108 megapixels."""
    return Image.linear_gradient("L").resize((12000, 9000))


def detail(payload: bytes, **options: Any) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_picture(payload, **options)
    assert caught.value.reason == "image_too_large"
    return caught.value.detail


def test_a_phones_jpeg_costs_what_libjpeg_leaves_of_it(phone: Image.Image) -> None:
    payload = encode(phone, "JPEG", quality=50)
    picture = decode_picture(payload, reduce=lambda width, height: min(width, height) / 589)
    assert (picture.width, picture.height) == (12000, 9000)
    assert picture.image.size == (1500, 1125)
    assert picture.complete
    assert "12000 x 9000 pixels, at most 64000000" in detail(payload)
    assert "1500 x 1125 once" in detail(payload, reduce=lambda width, height: 8.0, max_pixels=1_000_000)


def test_a_limit_above_pillows_own_holds(phone: Image.Image) -> None:
    assert decode_picture(encode(phone, "JPEG", quality=50), max_pixels=10**9).image.size == (12000, 9000)


def test_a_progressive_jpeg_costs_memory(phone: Image.Image) -> None:
    payload = encode(phone.resize((4000, 3000)), "JPEG", progressive=True)
    assert decode_picture(payload, reduce=lambda width, height: 8.0).complete
    assert decode_picture(payload, reduce=lambda width, height: 8.0, memory=40 << 20).complete
    text = detail(payload, reduce=lambda width, height: 8.0, memory=20 << 20)
    assert "4000 x 3000" in text
    assert "30 MB" in text
    assert "20 MB" in text
