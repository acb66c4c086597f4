"""Files, folders, globs; and shrinking what is too large."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from publisher.shrink import shrink
from publisher.sources import find_images
from wire.errors import SettingsError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "deep/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_folder_gives_all_images_below_it(tree: Path) -> None:
    assert [image.read() for image in find_images([str(tree)])] == [b"a.PNG", b"b.jpg", b"deep/er/c.webp"]


def test_globs_and_files_in_the_order_given(tree: Path) -> None:
    found = find_images([str(tree / "b.jpg"), str(tree / "**" / "*.webp"), str(tree / "deep" / "notes.txt")])
    assert [Path(image.name).name for image in found] == ["b.jpg", "c.webp", "notes.txt"]
    assert [image.size for image in found] == [5, 14, 14]


def test_a_file_whose_name_looks_like_a_glob(tree: Path) -> None:
    (tree / "[1].jpg").write_bytes(b"one")
    assert [image.read() for image in find_images([str(tree / "[1].jpg")])] == [b"one"]


@pytest.mark.parametrize("missing", ["none.jpg", "*.gif", "deep/empty"])
def test_what_is_not_there_is_named(tree: Path, missing: str) -> None:
    (tree / "deep" / "empty").mkdir()
    with pytest.raises(SettingsError) as raised:
        find_images([str(tree / missing)])
    assert missing in str(raised.value)


def test_a_file_that_is_gone_when_its_turn_comes(tree: Path) -> None:
    (image,) = find_images([str(tree / "b.jpg")])
    (tree / "b.jpg").unlink()
    with pytest.raises(SettingsError, match=r"b\.jpg"):
        image.read()


def test_shrink_keeps_the_shape_and_turns_it_upright(photos: Path) -> None:
    with PillowImage.open(photos / "coffee.png") as coffee:
        exif = PillowImage.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        turned = io.BytesIO()
        coffee.save(turned, "JPEG", exif=exif.tobytes())
    with PillowImage.open(io.BytesIO(shrink(turned.getvalue(), 300))) as small:
        assert (small.format, small.size) == ("JPEG", (200, 300))


def test_shrink_leaves_small_images_as_they_are(photos: Path) -> None:
    content = (photos / "rocket.jpg").read_bytes()
    assert shrink(content, 1000) is content


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff broken"])
def test_shrink_leaves_what_is_no_image_to_the_workers_rejection(content: bytes) -> None:
    assert shrink(content, 100) is content
