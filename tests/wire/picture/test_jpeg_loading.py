"""JPEGs are loaded through the processor's cache."""

from __future__ import annotations

import ctypes
import io
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wire.picture import jpeg_loading

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="of libjpeg-turbo's code for AVX2")

ROOT = Path(__file__).resolve().parents[3]
WIDTHS = [300, 302, 303, 320, 640, 648, 800, 960, 1280, 1920]


def jpeg(width: int, mode: str = "RGB") -> bytes:
    encoded = io.BytesIO()
    Image.linear_gradient("L").resize((width, 40)).convert(mode).save(encoded, "JPEG")
    return encoded.getvalue()


def takes_the_chosen_place(width: int) -> None:
    """Try it for a width of pictures: in a process of one thread, as decoders are; others take memory too."""
    library = ctypes.PyDLL(None)
    library.calloc.restype = library.free.restype = ctypes.c_size_t
    library.calloc.argtypes, library.free.argtypes = [ctypes.c_size_t] * 2, [ctypes.c_size_t]
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


@pytest.mark.parametrize("width", WIDTHS)
def test_pillow_takes_the_place_that_was_chosen_for_its_rows(width: int) -> None:
    call = f"from {__name__} import takes_the_chosen_place; takes_the_chosen_place({width})"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_bad_places_are_given_back_before_they_are_many() -> None:
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
