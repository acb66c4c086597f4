"""JPEGs whose end is missing, filled up or spoilt: whole, nearly whole, or rejected."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any, Callable, Dict, Tuple, Union

import pytest
from PIL import Image, ImageChops, ImageStat, features

from tests.faults.hostile import containers as c
from wire.picture import jpeg, jpeg_end
from wire.picture.decoding import decode_picture
from wire.picture.errors import Undecodable

EOI = b"\xff\xd9"
#: Ways in which the encoders of cameras and programs differ.
ENCODERS: Dict[str, Dict[str, Any]] = {
    "4:2:0": {},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 10},
    "a restart each row": {"restart_marker_rows": 1},
    "a restart each block": {"restart_marker_blocks": 1, "subsampling": 0},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 7},
}
#: What senders leave behind the last byte of a picture that was cut.
TAILS: Dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda cut: cut,
    "an end marker": lambda cut: cut + EOI,
    "half an end marker": lambda cut: cut + b"\xff",
    "a newline": lambda cut: cut + b"\n",
    "a boundary": lambda cut: cut + b"\r\n--frame--\r\n",
    "a page of text": lambda cut: cut + b"\r\nGuru Meditation Error: Core 1 panicked\r\n" * 300,
    "ff": lambda cut: cut + b"\xff" * 300,
    "ff and an end marker": lambda cut: cut + b"\xff" * 300 + EOI,
    "zeros": lambda cut: cut + bytes(300),
    "zeros and a newline": lambda cut: cut + bytes(3000) + b"\r\n",
    "spaces": lambda cut: cut + b" " * 64,
    "the next picture": lambda cut: cut + cut + EOI,
    "the next part of a stream": lambda cut: cut + b"\r\n--f\r\nContent-Type: image/jpeg\r\n\r\n" + cut + EOI,
}
#: Those that put an end marker right behind the cut.
MARKED = (TAILS["an end marker"], TAILS["ff and an end marker"])
SMALL = 8.0  # times that a picture may be reduced


def encode(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 88, **options})
    return buffer.getvalue()


def judge(payload: bytes, reduce: float = 1.0) -> Union[bool, str]:
    """Whether a picture is complete, or why it is rejected."""
    try:
        return decode_picture(payload, reduce=lambda width, height: reduce).complete
    except Undecodable as error:
        return error.detail if error.reason == "corrupt_image" else error.reason


@pytest.fixture(scope="module")
def coffee(photos: Path) -> Image.Image:
    with Image.open(photos / "coffee.png") as image:
        return image.convert("RGB")


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


def one_scan_a_component(image: Image.Image) -> bytes:
    """A sequential JPEG that sends its components one after the other."""
    bands = [c.pieces(encode(band)) for band in image.convert("YCbCr").split()]
    frame = c.sof(*image.size, components=3)
    tables = [piece for piece in bands[0] if piece[:2] in (b"\xff\xdb", b"\xff\xc4")]
    scans = []
    for number, band in enumerate(bands):
        scan = next(piece for piece in band if piece[:2] == b"\xff\xda")
        scans.append(scan[:5] + bytes([number + 1]) + scan[6:])
    return b"".join([c.SOI, c.APP0, *tables, frame, *scans, c.EOI])


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_components_that_come_one_after_the_other(
    coffee: Image.Image, tail: Callable[[bytes], bytes]
) -> None:
    whole = one_scan_a_component(coffee)
    picture = decode_picture(whole)
    difference = ImageChops.difference(picture.image, coffee).convert("L")
    assert picture.complete
    assert sum(difference.histogram()[20:]) < 600 * 400 / 50
    assert judge(tail(whole[:-2])) is True
    last = len(whole) - whole.rindex(b"\xff\xda")
    assert judge(tail(whole[: -last // 20])) is False
    assert "sharp" in str(judge(tail(whole[: -last // 2]))), "half of its red is missing"
    assert "sharp" in str(judge(tail(whole[:-last]))), "all of it"
    assert "sharp" in str(judge(tail(whole[: len(whole) // 2])))


def test_of_two_pictures_in_one_file_the_first_is_judged(coffee: Image.Image) -> None:
    buffer = io.BytesIO()
    coffee.save(buffer, "MPO", save_all=True, append_images=[coffee.rotate(180)], quality=85)
    both, one = buffer.getvalue(), len(encode(coffee, quality=85))
    assert judge(both) is True
    for length in (len(both) - 2, len(both) - 5000, one + 1000):
        assert judge(both[:length]) is True
        assert judge(both[:length] + EOI) is True
    assert judge(both[: one - 2000]) is False
    assert "rows are missing" in str(judge(both[: one // 2]))


def test_scans_that_never_came(coffee: Image.Image) -> None:
    """Of a progressive JPEG with only its first scans, an end marker behind them, there is but a preview."""
    whole = encode(coffee, progressive=True)
    header = jpeg.read_header(whole)
    assert header
    scans = jpeg.read_scans(whole, header)
    assert len(scans) == 10
    judgements = [judge(whole[: scan.end] + EOI) for scan in scans]
    assert ["sharp" in str(judgement) for judgement in judgements[:4]] == [True] * 4
    assert judgements[4:] == [False] * 5 + [True]


def test_a_size_that_its_bytes_cannot_hold(coffee: Image.Image) -> None:
    whole = bytearray(encode(coffee))
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = b"\xc0\x00\xc0\x00"
    assert "too few" in str(judge(bytes(whole), SMALL))


def lossless(image: Image.Image) -> bytes:
    """A lossless grey JPEG (predictor 1: the pixel to the left, or of a row's first the one above)."""
    width, height = image.size
    pixels = image.tobytes()
    bits = []
    for at, pixel in enumerate(pixels):
        above = pixels[at - width] if at >= width else 128
        difference = pixel - (pixels[at - 1] if at % width else above)
        length = abs(difference).bit_length()
        bits.append("1" * length + "0")
        if length:
            bits.append(f"{difference if difference > 0 else difference + 2**length - 1:0{length}b}")
    written = "".join(bits)
    written += "1" * (-len(written) % 8)
    entropy = int(written, 2).to_bytes(len(written) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        [c.SOI, c.APP0, c.dht(0x00, *range(9)), c.sof(width, height, marker=0xC3), c.sos(1, 0, entropy), EOI]
    )


@pytest.mark.skipif(
    int((features.version("libjpeg_turbo") or "0").split(".")[0]) < 3,
    reason="libjpeg-turbo decodes lossless JPEGs from 3.0 on",
)
@pytest.mark.parametrize("reduce", [1.0, 2.0, SMALL])
def test_a_lossless_jpeg_which_libjpeg_cannot_shrink(coffee: Image.Image, reduce: float) -> None:
    grey = coffee.convert("L")
    whole = lossless(grey)
    picture = decode_picture(whole, reduce=lambda width, height: reduce)
    assert (picture.complete, picture.image.convert("L").tobytes()) == (True, grey.tobytes())
    assert judge(whole[:-2], reduce) is True
    assert judge(whole[:-2] + bytes(300), reduce) is True
    assert judge(whole[: int(len(whole) * 0.95)], reduce) is False
    assert "rows are missing" in str(judge(whole[: len(whole) // 2], reduce))
