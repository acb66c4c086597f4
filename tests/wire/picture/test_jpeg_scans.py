"""Cut JPEGs of rarer kinds: one scan a component, two pictures in one file, progressive, lossless."""

from __future__ import annotations

import io
from typing import Callable

import pytest
from PIL import Image, ImageChops, features

from tests.faults.hostile import containers as c
from tests.wire.picture.cut import EOI, SMALL, TAILS, encode, judge
from wire.picture import jpeg
from wire.picture.decoding import decode_picture


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
