"""What counts as a still picture, on real photos as cameras send them: as JPEGs, no two of them alike."""

from __future__ import annotations

import itertools
from typing import Any, Dict, List

import numpy as np
import pytest
from PIL import Image

from tests.worker.stills import jpeg, pixels, scene, with_cat, with_haze
from worker.serving.sketch import GRID, shows_the_same, sketch

SCENES = ("coffee.png", "rocket.jpg", "motorcycle_left.png", "astronaut.png")
#: As most cameras are.
USUAL: Dict[str, float] = {"quality": 75, "noise": 3.0}
CORNERS = [(0.0, 0.0), (0.9, 0.1), (0.5, 0.5), (0.2, 1.0)]


def same(first: bytes, second: bytes, side: int = 224) -> bool:
    return shows_the_same(sketch(pixels(first, side)), sketch(pixels(second, side)))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize(
    "again",
    [
        USUAL,
        {"quality": 90, "noise": 1.0},
        {"quality": 50, "noise": 5.0},
        {"quality": 75, "noise": 8.0},
        {**USUAL, "gain": 1.03},
        {**USUAL, "gain": 0.97},
        {"quality": 50, "noise": 8.0, "gain": 1.03},
    ],
    ids=lambda how: " ".join(f"{key} {value:g}" for key, value in how.items()),
)
def test_noise_compression_and_a_little_light_are_no_change(name: str, again: Dict[str, Any]) -> None:
    before = {**again, "gain": 1.0}
    assert same(jpeg(scene(name), 1, **before), jpeg(scene(name), 2, **again))


@pytest.mark.parametrize("name", SCENES)
def test_another_quality_of_the_same_is_no_change(name: str) -> None:
    """A camera lowers it when its network is slow."""
    assert same(jpeg(scene(name), 1, quality=85), jpeg(scene(name), 2, quality=50))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("share", [0.02, 0.005])
def test_a_small_thing_that_enters_is_a_change(name: str, share: float) -> None:
    before = jpeg(scene(name), 1)
    entered = [jpeg(with_cat(scene(name), share, at), 2) for at in CORNERS]
    assert [same(before, each) for each in entered] == [False] * len(CORNERS)


@pytest.mark.parametrize("name", SCENES)
def test_so_it_is_in_the_dark(name: str) -> None:
    before = jpeg(scene(name), 1, gain=0.15)
    entered = [jpeg(with_cat(scene(name), 0.02, at), 2, gain=0.15) for at in CORNERS]
    assert [same(before, each) for each in entered] == [False] * len(CORNERS)
    assert same(before, jpeg(scene(name), 3, gain=0.15))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("levels", [6.0, -6.0])
@pytest.mark.parametrize("noise", [3.0, 8.0])
def test_a_faint_change_of_a_large_part_is_a_change(name: str, levels: float, noise: float) -> None:
    """Smoke, or somebody in the dark, who nowhere stands out."""
    before = jpeg(scene(name), 1, noise=noise)
    hazy = [jpeg(with_haze(scene(name), levels, at), 2, noise=noise) for at in CORNERS]
    assert [same(before, each) for each in hazy] == [False] * len(CORNERS)


@pytest.mark.parametrize("name", SCENES)
def test_an_adjusted_white_balance_is_no_change(name: str) -> None:
    red, green, blue = scene(name).split()
    adjusted = Image.merge("RGB", (red.point(lambda v: v * 1.03), green, blue.point(lambda v: v * 0.97)))
    assert same(jpeg(scene(name), 1), jpeg(adjusted, 2))


def test_what_becomes_brighter_by_more_than_a_little_is_a_change() -> None:
    """Of one colour alone too, although no block stands out."""
    for lighter in ((120, 100, 100), (100, 100, 112)):
        pair = [Image.new("RGB", (640, 480), color) for color in ((100, 100, 100), lighter)]
        assert not same(*(jpeg(each, 1, quality=90, noise=0) for each in pair))


def test_a_thing_of_no_other_brightness_is_seen_by_its_colour() -> None:
    wall = Image.new("RGB", (640, 480), (110, 110, 110))
    ball = wall.copy()
    ball.paste((150, 90, 110), (300, 200, 340, 240))  # as grey as the wall
    assert abs(ball.convert("L").getpixel((310, 210)) - 110) <= 3  # type: ignore[operator]
    assert not same(jpeg(wall, 1), jpeg(ball, 2))


@pytest.mark.parametrize("side", [96, 224, 299, 600])
def test_models_of_any_size_see_alike(side: int) -> None:
    coffee = scene("coffee.png")
    assert same(jpeg(coffee, 1), jpeg(coffee, 2), side)
    assert not same(jpeg(coffee, 1), jpeg(with_cat(coffee, 0.005, (0.9, 0.9)), 2), side)


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 8, 3), (28, 300, 1), (299, 299, 3), (480, 640, 3)])
def test_a_block_is_the_mean_of_its_pixels(shape: Any) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    means = sketch(picture)
    rows, columns, colours = means.shape
    assert colours == shape[2]
    assert max(rows, columns) <= GRID
    tall, wide = -(-shape[0] // GRID), -(-shape[1] // GRID)
    top, left = (shape[0] - rows * tall) // 2, (shape[1] - columns * wide) // 2
    assert max(top, left) <= max(tall, wide) / 2
    expected: List[Any] = [
        picture[top + row * tall :, left + column * wide :][:tall, :wide].mean(axis=(0, 1))
        for row, column in itertools.product(range(rows), range(columns))
    ]
    assert means.reshape(-1, colours) == pytest.approx(np.array(expected), abs=0.01)
