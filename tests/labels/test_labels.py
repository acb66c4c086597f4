from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.models import get_model_weights

from labels import IMAGENET_1K, read_labels
from wire.errors import SettingsError


def write(folder: Path, content: bytes) -> Path:
    path = folder / "labels.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["alexnet", "densenet121", "inception_v3", "mobilenet_v2"])
def test_the_packaged_names_are_torchvisions(name: str) -> None:
    assert read_labels(IMAGENET_1K) == tuple(get_model_weights(name).DEFAULT.meta["categories"])


@pytest.mark.parametrize(
    "content",
    [
        b"cat\nsea lion\nh\xc3\xbchner",
        b"cat\nsea lion\nh\xc3\xbchner\n",
        b"\xef\xbb\xbfcat\r\nsea lion\r\nh\xc3\xbchner\r\n",
        b"# pets\n\ncat\n  \n sea lion \n# and\n  # more\nh\xc3\xbchner\n\n\n",
    ],
    ids=["plain", "trailing newline", "windows", "comments and blank lines"],
)
def test_one_class_a_line(tmp_path: Path, content: bytes) -> None:
    assert read_labels(write(tmp_path, content)) == ("cat", "sea lion", "hühner")


def test_a_line_separator_inside_a_name_stays_there(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, "a\u2028b\nc\x0cd\n".encode())) == ("a\u2028b", "c\x0cd")


def test_names_may_repeat(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, b"crane\ncrane\n")) == ("crane", "crane")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "names no class"),
        (b"# nothing but this\n\n", "names no class"),
        (b"caf\xe9\n", r"not UTF-8 \(byte 3\)"),
        ("cat\n".encode("utf-16-le"), "UTF-16 without its mark"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(SettingsError, match=says) as raised:
        read_labels(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.txt: No such file"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(SettingsError, match="Is a directory"):
        read_labels(tmp_path)
