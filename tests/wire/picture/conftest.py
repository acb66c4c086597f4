"""Two photos, in RGB."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def coffee(photos: Path) -> Image.Image:
    with Image.open(photos / "coffee.png") as image:
        return image.convert("RGB")


@pytest.fixture(scope="module")
def chelsea(photos: Path) -> Image.Image:
    with Image.open(photos / "chelsea.png") as image:
        return image.convert("RGB")
