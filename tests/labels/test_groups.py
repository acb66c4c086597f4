"""Group files: labels that a home can use, made from WordNet's hierarchy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labels import IMAGENET_1K, read_labels
from labels.groups import PACKAGED, UNGROUPED, assign, missing, parse_groups, read_groups
from wire.errors import SettingsError

HOME = read_groups(PACKAGED["home"])
CLASSES = read_labels(IMAGENET_1K)
TOOLS = Path(__file__).parent.parent / "tools"


def test_every_label_of_the_home_groups_is_one_of_imagenet() -> None:
    assert missing(HOME, CLASSES) == []
    assert sum(len(labels) for labels in HOME.values()) > 850


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("tabby", "cat"),
        ("Egyptian cat", "cat"),
        ("lynx", "other animal"),
        ("Chihuahua", "dog"),
        ("timber wolf", "other animal"),
        ("robin", "bird"),
        ("crane bird", "bird"),
        ("crane", None),
        ("scuba diver", "person"),
        ("backpack", "carried thing"),
        ("umbrella", "carried thing"),
        ("minivan", "vehicle"),
        ("moped", "vehicle"),
        ("airliner", "vehicle"),
        ("espresso", "food"),
        ("pizza", "food"),
        ("rocking chair", "furniture"),
        ("laptop", "electronics"),
        ("cellular telephone", "electronics"),
        ("coffee mug", "kitchenware"),
        ("grand piano", "musical instrument"),
        ("volcano", "landscape"),
    ],
)
def test_the_group_of_a_label(label: str, group: str | None) -> None:
    found = assign(HOME, [label])[0]
    assert (list(HOME)[found] if found != UNGROUPED else None) == group


def test_the_file_is_what_wordnet_makes_of_it() -> None:
    if not Path("/usr/share/wordnet/data.noun").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Debian: wordnet-base")
    made = subprocess.run(
        [sys.executable, str(TOOLS / "make_groups.py")], capture_output=True, text=True, check=True
    )
    assert made.stdout == PACKAGED["home"].read_text(encoding="utf-8")


def test_a_class_that_is_called_as_a_group_belongs_to_it() -> None:
    assert assign({"cat": ("tabby",), "dog": ("pug",)}, ["dog", "cup", "tabby", "cat"]) == [
        1,
        UNGROUPED,
        0,
        0,
    ]


def test_ones_own_file(tmp_path: Path) -> None:
    path = tmp_path / "pets.toml"
    path.write_text('\ufeffpet = ["tabby", "Chihuahua"]\n"garden bird" = ["robin"]\n', encoding="utf-8")
    assert read_groups(path) == {"pet": ("tabby", "Chihuahua"), "garden bird": ("robin",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no group"),
        ('cat = "tabby"', "'cat' is no list of labels"),
        ("cat = [1]", "'cat' is no list of labels"),
        ('[cat]\nof = ["tabby"]', "'cat' is no list of labels"),
        ('cat = ["tabby"]\npet = ["tabby"]', "a label has one group, 'tabby' stands in 'cat' and in 'pet'"),
        ("cat: tabby", "line 1"),
    ],
)
def test_a_file_that_holds_no_groups_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "groups.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_groups(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.toml: No such file"):
        read_groups(tmp_path / "no.toml")


def test_the_same_label_twice_in_a_group_counts_once() -> None:
    assert parse_groups({"cat": ["tabby", "tabby"]}) == {"cat": ("tabby", "tabby")}
