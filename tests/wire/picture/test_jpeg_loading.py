"""JPEGs are loaded through the processor's cache, into memory that an earlier one has left."""

from __future__ import annotations

import ctypes
import io
import platform
from typing import Tuple

import pytest
from PIL import Image

from wire.picture import jpeg_loading

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="of libjpeg-turbo's code for AVX2")

WIDTHS = [300, 302, 303, 320, 640, 648, 800, 960, 1280, 1920]


@pytest.fixture
def library() -> ctypes.PyDLL:
    library = ctypes.PyDLL(None)
    library.calloc.restype = library.free.restype = ctypes.c_size_t
    library.calloc.argtypes, library.free.argtypes = [ctypes.c_size_t] * 2, [ctypes.c_size_t]
    return library


def jpeg(width: int, mode: str = "RGB") -> bytes:
    encoded = io.BytesIO()
    Image.linear_gradient("L").resize((width, 40)).convert(mode).save(encoded, "JPEG")
    return encoded.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_pillow_takes_the_place_that_was_chosen_for_its_rows(library: ctypes.PyDLL, width: int) -> None:
    row = 4 * width
    # Holes of the size, every other of which would be written past the cache.
    holes = [library.calloc(1, row) for _ in range(20)]
    for hole in holes[::2]:
        library.free(hole)

    for _ in range(3):
        decoder = jpeg_loading._open_decoder("RGB", row, "RGB", "", 1, 0)
        chosen = library.calloc(1, row)
        library.free(chosen)
        decoder.setimage(Image.core.new("RGB", (width, 40)), (0, 0, width, 40))
        following = library.calloc(1, row)
        library.free(following)

        assert chosen % 32 == 16
        assert following != chosen  # Pillow has it
        del decoder  # and with it the buffer

    for hole in holes[1::2]:
        library.free(hole)


def test_bad_places_are_given_back_before_they_are_many(library: ctypes.PyDLL) -> None:
    kept = set()

    def calloc(count: int, size: int) -> int:
        place = 32 * (len(kept) + 1)
        kept.add(place)
        return place

    places = jpeg_loading._Places(calloc, kept.remove)
    for size in range(1000, 3000):
        places.prefer_good(size)

    assert 0 < len(kept) < 200


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_pixels_are_those_that_pillow_loads_by_itself(mode: str, scale: int) -> None:
    content = jpeg(640, mode)
    ours, pillows = (Image.open(io.BytesIO(content)) for _ in range(2))
    for image in (ours, pillows):
        image.draft(None, (640 // scale, 40 // scale))

    jpeg_loading.load(ours)

    assert ours.mode == mode
    assert ours.tobytes() == pillows.tobytes()


def test_a_cut_picture_fails_as_it_does_by_itself() -> None:
    image = Image.open(io.BytesIO(jpeg(640)[:700]))

    with pytest.raises(OSError, match="truncated"):
        jpeg_loading.load(image)


def coloured(colour: str) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (320, 240), colour).save(encoded, "JPEG")
    return encoded.getvalue()


def cut(jpeg: bytes) -> bytes:
    """Without the last tenth of its pixels, but with an end marker: libjpeg fills them up."""
    begin = jpeg.rindex(b"\xff\xda")
    return jpeg[: begin + (len(jpeg) - begin) * 9 // 10] + b"\xff\xd9"


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    jpeg_loading.load(image)
    return image


@pytest.mark.parametrize("content", [coloured("blue"), cut(coloured("blue"))], ids=["whole", "cut"])
def test_nothing_is_seen_of_the_picture_that_left_its_memory(content: bytes) -> None:
    jpeg_loading.recycle(Image.new("RGB", (1, 1)))
    alone = decoded(content).tobytes()
    jpeg_loading.recycle(decoded(coloured("red")))
    with pytest.raises(OSError, match="truncated"):
        decoded(coloured("red")[:-200])

    jpeg_loading.recycle(decoded(coloured("red")))
    assert decoded(content).tobytes() == alone


def test_two_pictures_at_a_time_have_memory_of_their_own() -> None:
    jpeg_loading.recycle(decoded(coloured("red")))
    first, second = decoded(coloured("blue")), decoded(coloured("white"))

    assert first.getpixel((0, 0)) == (0, 0, 254)
    assert second.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("size", "spare"), [((320, 240), 1), ((4000, 2000), 0)], ids=["usual", "large"])
def test_a_large_picture_leaves_no_memory(size: Tuple[int, int], spare: int) -> None:
    jpeg_loading._SPARE.clear()
    jpeg_loading.recycle(Image.new("RGB", size))

    assert len(jpeg_loading._SPARE) == spare
