"""JPEGs whose end is missing, filled up or spoilt: whole, nearly whole, or rejected."""

from __future__ import annotations

import random
from typing import Any, Callable, Dict, Tuple

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.wire.picture.cut import ENCODERS, EOI, MARKED, SMALL, TAILS, encode, judge
from wire.picture import jpeg, jpeg_end
from wire.picture.decoding import decode_picture


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
@pytest.mark.parametrize("options", ENCODERS.values(), ids=ENCODERS)
def test_a_cut_is_judged_the_same_whatever_is_behind_it(
    coffee: Image.Image, options: Dict[str, Any], tail: Callable[[bytes], bytes]
) -> None:
    whole = encode(coffee, **options)
    unseen = "progressive" in options and tail in MARKED
    for reduce in (1.0, SMALL):
        assert judge(whole, reduce) is True
        assert judge(tail(whole[:-2]), reduce) is True
        for lost in (0.02, 0.05, 0.1):
            assert judge(tail(whole[: int(len(whole) * (1 - lost))]), reduce) is unseen, lost
        for lost in (0.75, 0.85):
            assert "its " in str(judge(tail(whole[: int(len(whole) * (1 - lost))]), reduce)), lost


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("tail", ["nothing", "an end marker", "zeros", "ff"])
def test_grey_and_four_inks(coffee: Image.Image, mode: str, tail: str) -> None:
    whole = encode(coffee.convert(mode))
    assert judge(TAILS[tail](whole[:-2])) is True
    assert judge(TAILS[tail](whole[: int(len(whole) * 0.95)])) is False
    assert "% of its rows are missing" in str(judge(TAILS[tail](whole[: len(whole) // 2])))


@pytest.mark.parametrize("size", [(593, 385), (601, 401), (17, 33), (640, 8)])
def test_sides_that_no_block_divides(coffee: Image.Image, size: Tuple[int, int]) -> None:
    whole = encode(coffee.resize(size))
    assert judge(whole[:-2]) is True
    assert "rows are missing" in str(judge(whole[: len(whole) - (len(whole) - 623) // 2] + EOI))


def test_what_is_there_is_shown_as_it_is(coffee: Image.Image) -> None:
    whole = encode(coffee)
    picture = decode_picture(whole[:-2])
    expected = decode_picture(whole)
    assert picture.complete
    assert picture.image.tobytes() == expected.image.tobytes()
    cut = decode_picture(whole[: int(len(whole) * 0.9)])
    above = (0, 0, 600, 340)
    assert not ImageChops.difference(cut.image.crop(above), expected.image.crop(above)).getbbox()


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("colour", [(128, 128, 128), (0, 0, 0), (255, 255, 255), (90, 20, 30)])
def test_a_whole_picture_of_one_colour_is_complete(
    colour: Tuple[int, int, int], options: Dict[str, Any]
) -> None:
    whole = encode(Image.new("RGB", (640, 480), colour), **options)
    assert judge(whole) is True
    assert judge(whole, SMALL) is True


def test_a_whole_picture_that_ends_grey_is_complete(coffee: Image.Image) -> None:
    grey = coffee.copy()
    grey.paste((128, 128, 128), (0, 150, 600, 400))
    whole = encode(grey)
    assert judge(whole) is True
    assert judge(whole[:-2]) is True
    assert "rows are missing" in str(judge(whole[:-1500] + EOI))


def test_zeros_that_are_an_area_of_one_colour_are_no_padding(coffee: Image.Image) -> None:
    black = Image.new("RGB", (1600, 1200))
    black.paste(coffee.resize((300, 200)).convert("L"), (700, 20))
    whole = encode(black, optimize=True)
    assert bytes(200) in whole[-210:]
    aligned = next(
        found
        for quality in range(60, 95)
        for width in (1600, 1584, 1568, 1552)
        if (found := encode(black.crop((0, 0, width, 1200)), optimize=True, quality=quality)).endswith(
            bytes(200) + EOI
        )
    )
    for reduce in (1.0, SMALL):
        assert judge(aligned, reduce) is True
        assert judge(aligned[:-2], reduce) is True
        assert judge(whole, reduce) is True
        assert judge(whole[:-2], reduce) is True
        for tail in (b"", EOI):
            assert "rows are missing" in str(judge(whole[: len(whole) // 3] + bytes(9000) + tail, reduce))


def test_zeros_before_the_end_marker_are_padding(coffee: Image.Image) -> None:
    whole = encode(coffee)
    assert judge(whole[:-2] + bytes(500) + EOI) is True
    assert judge(whole[: int(len(whole) * 0.95)] + bytes(5000) + EOI) is False
    assert "rows are missing" in str(judge(whole[: len(whole) // 2] + bytes(5000) + EOI))


def test_a_plain_picture_is_decoded_once(coffee: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(data: bytes, scale: int) -> Image.Image:
        raise AssertionError("decoded again")

    monkeypatch.setattr(jpeg_end, "load", load)
    assert judge(encode(coffee)) is True


@pytest.mark.parametrize("reduce", [1.0, SMALL])
@pytest.mark.parametrize("restarts", [0, 7])
def test_a_progressive_picture_whose_last_scan_refines_it_is_decoded_once(
    coffee: Image.Image, monkeypatch: pytest.MonkeyPatch, restarts: int, reduce: float
) -> None:
    whole = encode(coffee, progressive=True, restart_marker_blocks=restarts)
    header = jpeg.read_header(whole)
    assert header
    scans = jpeg.read_scans(whole, header)
    cut = whole[: scans[-1].begin + 100] + EOI
    assert judge(cut[:-2], reduce) is False
    assert judge(whole[: scans[-2].end - 100] + EOI, reduce) is False
    assert judge(cut[:-2] + whole, reduce) is False, "the end marker is another picture's"

    def load(data: bytes, scale: int) -> Image.Image:
        raise AssertionError("decoded again")

    monkeypatch.setattr(jpeg_end, "load", load)
    assert judge(whole, reduce) is True
    assert judge(cut, reduce) is True
    difference = ImageChops.difference(decode_picture(cut).image, decode_picture(whole).image)
    assert max(ImageStat.Stat(difference).mean) < 4, "nobody sees what is missing"


@pytest.mark.parametrize("tail", ["nothing", "an end marker"])
def test_wherever_it_is_cut(coffee: Image.Image, tail: str) -> None:
    """The more is lost, the worse the judgement: complete, incomplete, rejected; within a header as well."""
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 5}):
        whole = encode(coffee.resize((150, 100)), **options)
        dice = random.Random(1)
        order = [
            {True: 0, False: 1}.get(judgement, 2)  # type: ignore[call-overload]
            for judgement in (
                judge(TAILS[tail](whole[:length]))
                for length in sorted(dice.sample(range(4, len(whole)), 150), reverse=True)
            )
        ]
        assert set(order) == {0, 1, 2} or set(order) == {1, 2}
        assert order == sorted(order), options


def test_a_size_that_its_bytes_cannot_hold(coffee: Image.Image) -> None:
    whole = bytearray(encode(coffee))
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = b"\xc0\x00\xc0\x00"
    assert "too few" in str(judge(bytes(whole), SMALL))
