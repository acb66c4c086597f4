"""Files, folders, globs: what is found in them, and what is not sent."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from PIL import Image as PillowImage

from fleet.logs import BURST
from publisher.sources import find_images
from tests.harness import closed, nanofleet
from wire.errors import SettingsError


def encode(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PillowImage.new("RGB", (32, 24), (200, 100, 50)).save(buffer, kind, **options)
    return buffer.getvalue()


JPEG, PNG, WEBP = encode("JPEG"), encode("PNG"), encode("WEBP")
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[Dict[str, bytes]], str]:
    """Write files into a folder."""

    def put(files: Dict[str, bytes]) -> str:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return str(tmp_path)

    return put


@pytest.fixture
def tree(put: Callable[[Dict[str, bytes]], str]) -> Path:
    return Path(put({"b.jpg": JPEG, "a.PNG": PNG, "deep/er/c.webp": WEBP, "deep/notes.txt": b"notes"}))


def names(folder: str) -> Any:
    return [Path(image.name).name for image in find_images([folder]).images]


def test_a_folder_gives_all_images_below_it(tree: Path) -> None:
    found, failed = find_images([str(tree)])
    assert [image.read() for image in found] == [PNG, JPEG, WEBP]
    assert failed == 0


def test_globs_and_files_in_the_order_given(tree: Path) -> None:
    sources = [str(tree / "b.jpg"), str(tree / "**" / "*.webp"), str(tree / "deep" / "notes.txt")]
    found, failed = find_images(sources)
    assert [Path(image.name).name for image in found] == ["b.jpg", "c.webp", "notes.txt"]
    assert [image.size for image in found] == [len(JPEG), len(WEBP), 5]
    assert failed == 0


def test_a_file_whose_name_looks_like_a_glob(tree: Path) -> None:
    (tree / "[1].jpg").write_bytes(b"one")
    assert [image.read() for image in find_images([str(tree / "[1].jpg")]).images] == [b"one"]


@pytest.mark.parametrize("missing", ["none.jpg", "*.gif", "deep/empty"])
def test_what_is_not_there_is_named(tree: Path, missing: str) -> None:
    (tree / "deep" / "empty").mkdir()
    with pytest.raises(SettingsError) as raised:
        find_images([str(tree / missing)])
    assert missing in str(raised.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "an empty text names nothing"),  # and not this folder, with all that is in it
        ("x" * 300, "File name too long"),
        ("loop.jpg", "Too many levels of symbolic links"),
        ("pipe.jpg", "nanofleet publish - < pipe.jpg"),
    ],
)
def test_what_cannot_be_a_source_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    (tree / "loop.jpg").symlink_to(tree / "loop.jpg")
    os.mkfifo(tree / "pipe.jpg")
    monkeypatch.chdir(tree)
    with pytest.raises(SettingsError, match=re.escape(why)) as raised:
        find_images([source])
    assert str(raised.value).startswith(f"{source or 'SOURCE'}: ")


def test_of_what_a_glob_matches_only_folders_and_pipes_are_passed_over(tree: Path) -> None:
    (tree / "nowhere.jpg").symlink_to(tree / "none.jpg")
    os.mkfifo(tree / "pipe.jpg")
    files = {Path(image.name).name: image for image in find_images([str(tree / "*")]).images}
    assert list(files) == ["a.PNG", "b.jpg", "nowhere.jpg"]
    with pytest.raises(SettingsError, match=r"nowhere\.jpg: No such file"):
        files["nowhere.jpg"].read()


def test_a_file_that_is_gone_when_its_turn_comes(tree: Path) -> None:
    (image,) = find_images([str(tree / "b.jpg")]).images
    (tree / "b.jpg").unlink()
    with pytest.raises(SettingsError, match=r"b\.jpg"):
        image.read()
    with pytest.raises(SettingsError, match=r"b\.jpg"):
        _ = image.size


def test_files_are_judged_by_what_they_hold(put: Callable[[Dict[str, bytes]], str]) -> None:
    right = {
        "a.jfif": JPEG,
        "b.jpe": JPEG,
        "c.mpo": JPEG,
        "d.JPG": JPEG,
        "e": PNG,
        "f.jpg": WEBP,
        "g.part": JPEG,
        "h.JPEG.download": JPEG,
        "i.png": JPEG,
        "j.jpg": b"\r\n" + JPEG,
    }
    others = {
        "._a.jpg": APPLE_DOUBLE,
        "deep/._a.jfif": APPLE_DOUBLE,
        "._b.jpg": b"",
        ".DS_Store": b"\0\0\0\1Bud1" + bytes(50),
        "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(50) + JPEG,
        "notes.txt": b"photos of May",
        "film.mp4": b"\0\0\0\x18ftypmp42" + JPEG,
        "film.avi": b"RIFF\0\0\0\0AVI " + JPEG,
        "mail.eml": b"Content-Type: image/jpeg\r\n\r\n" + JPEG,
        "empty": b"",
    }
    folder = put({**right, **others})
    assert names(folder) == list(right)
    assert find_images([folder]).failed == 0


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("page.jpg", b"<html>404</html>", "text"),
        ("phone.jpg", HEIC, "HEIC"),
        ("moving.png", b"GIF89a" + bytes(50), "GIF"),
        ("empty.jpeg", b"", "empty"),
        ("zeros.webp", bytes(500), "00 00"),
        ("cut.JFIF", b"\xff\xd8", "ff d8"),
    ],
)
def test_a_name_that_promises_an_image_is_kept_to(
    put: Callable[[Dict[str, bytes]], str],
    caplog: pytest.LogCaptureFixture,
    name: str,
    content: bytes,
    why: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        found, failed = find_images([put({"good.jpg": JPEG, name: content})])
    assert ([Path(image.name).name for image in found], failed) == (["good.jpg"], 1)
    (record,) = caplog.messages
    assert name in record
    assert why in record


def test_each_file_that_is_not_sent_is_named_however_many_there_are(
    put: Callable[[Dict[str, bytes]], str],
) -> None:
    pages = [f"{number}.jpg" for number in range(BURST + 5)]
    run = nanofleet("publish", put(dict.fromkeys(pages, b"<html>404</html>")))
    assert run.returncode == 2
    named = [line for line in run.stderr.splitlines() if "not sent: text, which is none of" in line]
    assert {Path(line.split(": ")[0]).name for line in named} == set(pages)


def test_other_pictures_are_counted(
    put: Callable[[Dict[str, bytes]], str], caplog: pytest.LogCaptureFixture
) -> None:
    photos = {f"{n}.HEIC": HEIC for n in range(3)}
    with caplog.at_level(logging.WARNING):
        found, failed = find_images([put({**photos, "good.jpg": JPEG, "x.gif": b"GIF89a", "y.bmp": b"BM"})])
    assert (len(found), failed) == (1, 0)
    assert len(caplog.messages) == 3
    assert any("3 HEIC files are not sent" in message for message in caplog.messages)
    assert any("1 GIF file is not sent" in message for message in caplog.messages)
    assert any("1 BMP file is not sent" in message for message in caplog.messages)


def test_links_pipes_and_loops(
    put: Callable[[Dict[str, bytes]], str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(put({"good.jpg": JPEG, "deep/other.jpg": JPEG}))
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "link.jpg").symlink_to(folder / "good.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "nowhere.jpg").symlink_to(folder / "none.jpg")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    os.mkfifo(folder / "pipe.jpg")
    found, failed = find_images([str(folder)])
    assert [Path(image.name).name for image in found] == ["other.jpg", "good.jpg", "link.jpg"]
    assert failed == 2
    assert {Path(message.split(":")[0]).name for message in caplog.messages} == {"loop.jpg", "nowhere.jpg"}


def test_a_file_in_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    image = tmp_path / "closed" / "a.jpg"
    with closed(image.parent), pytest.raises(SettingsError, match=f"{image}: Permission denied"):
        find_images([str(image)])


@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(
    put: Callable[[Dict[str, bytes]], str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(put({"good.jpg": JPEG, "secret.jpg": JPEG, "closed/a.jpg": JPEG}))
    (folder / "secret.jpg").chmod(0)
    (folder / "closed").chmod(0)
    try:
        found, failed = find_images([str(folder)])
    finally:
        (folder / "closed").chmod(0o700)
    assert (len(found), failed) == (1, 2)
