"""Label files in the forms in which tools write them: in the outputs' order, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

import pytest

from labels import read_labels
from wire.errors import SettingsError


def read(folder: Path, text: str) -> Tuple[str, ...]:
    path = folder / "labels.txt"
    path.write_bytes(text.encode())
    return read_labels(path)


#: Each of these names the same three classes.
SAME: Dict[str, str] = {
    "index and name": "0 cat\n1 cup\n2 rocket\n",
    "out of order": "2 rocket\n0 cat\n1 cup\n",
    "Coral": "0  cat\n1  cup\n2  rocket\n",
    "leading zeros": "000 cat\n001 cup\n002 rocket\n",
    "numbered": "0. cat\n1. cup\n2. rocket\n",
    "parenthesis": "0) cat\n1) cup\n2) rocket\n",
    "colon": "0: cat\n1: cup\n2: rocket\n",
    "colon without a space": "1:cup\n0:cat\n2:rocket\n",
    "equals": "0=cat\n1=cup\n2=rocket\n",
    "name: index": "rocket: 2\ncat: 0\ncup: 1\n",
    "name and index": "rocket 2\ncat 0\ncup 1\n",
    "index,name": "0,cat\n1,cup\n2,rocket\n",
    "name,index": "rocket,2\ncat,0\ncup,1\n",
    "spaces behind the comma": "0, cat\n1, cup\n2, rocket\n",
    "semicolon": "0;cat\n1;cup\n2;rocket\n",
    "tab": "0\tcat\n2\trocket\n1\tcup\n",
    "CSV with a header": "index,name\n0,cat\n1,cup\n2,rocket\n",
    "CSV with another": "name,index\nrocket,2\ncat,0\ncup,1\n",
    "CSV of pandas": ",label\n0,cat\n1,cup\n2,rocket\n",
    "CSV, class and id": "class_id,class_name\n0,cat\n1,cup\n2,rocket\n",
    "CSV, label,name": "label,name\n0,cat\n1,cup\n2,rocket\n",
    "CSV of four columns": "id,synset,name,size\n1,n2,cup,5\n0,n1,cat,6\n2,n3,rocket,7\n",
    "CSV in quotes": '"index","name"\n"0","cat"\n"1","cup"\n"2","rocket"\n',
    "tabs with a header": "id\tname\n0\tcat\n1\tcup\n2\trocket\n",
    "quoted": '"cat"\n"cup"\n"rocket"\n',
    "quoted once": "'cat'\n'cup'\n'rocket'\n",
    "an array's lines": '"cat",\n"cup",\n"rocket"\n',
    "synsets": "n01440764 cat\nn01443537 cup\nn01484850 rocket\n",
    "synsets, tabs": "n01440764\tcat\nn01443537\tcup\nn01484850\trocket\n",
    "JSON list": '["cat", "cup", "rocket"]',
    "JSON, index to name": '{"2": "rocket", "0": "cat", "1": "cup"}',
    "JSON on three lines": '{"0": "cat",\n"1": "cup",\n"2": "rocket"}',
    "class_to_idx": '{\n  "rocket": 2,\n  "cat": 0,\n  "cup": 1\n}',
    "name to index as text": '{"rocket": "2", "cat": "0", "cup": "1"}',
    "Keras' ImageNet": '{"0": ["n1", "cat"], "1": ["n2", "cup"], "2": ["n3", "rocket"]}',
    "id2label": '{"architectures": ["X"], "id2label": {"0": "cat", "1": "cup", "2": "rocket"}}',
    "label2id": '{"label2id": {"rocket": 2, "cat": 0, "cup": 1}, "num_labels": 3}',
    "both": '{"id2label": {"0":"cat","1":"cup","2":"rocket"}, "label2id": {"cat":0,"cup":1,"rocket":2}}',
    "Teachable Machine": '{"tfjsVersion": "1.3.1", "labels": ["cat", "cup", "rocket"], "imageSize": 224}',
    "COCO": '{"categories": [{"id": 1, "name": "cup"}, {"id": 0, "name": "cat"},'
    ' {"id": 2, "name": "rocket"}]}',
    "classes beside a number": '{"classes": ["cat", "cup", "rocket"], "names": 3}',
    "Python's dict": "{0: 'cat',\n 1: 'cup',\n 2: 'rocket'}",
    "Python's list": "['cat', 'cup', 'rocket']",
    "Python's tuple in a dict": "{'classes': ('cat', 'cup', 'rocket')}",
    "YAML list": "- cat\n- cup\n- rocket\n",
    "YAML list in quotes": "---\n- \"cat\"\n- 'cup'\n- rocket  # fast\n",
    "data.yaml, map": "path: ../data\ntrain: images\nnc: 3\nnames:\n  0: cat\n  1: cup\n  2: rocket\n",
    "data.yaml, list": "names:\n- cat\n- cup\n- rocket\nnc: 3\n",
    "data.yaml, inline": "train: a\nnames: ['cat', 'cup', 'rocket']  # three\nnc: 3\n",
    "data.yaml, over lines": "names: [cat,\n  cup,\n  rocket]\n",
    "data.yaml, inline map": "names: {0: cat, 1: cup, 2: rocket}\n",
    "old Macs": "cat\rcup\rrocket\r",
    "Windows": "0 cat\r\n1 cup\r\n2 rocket\r\n",
}


@pytest.mark.parametrize("form", SAME)
def test_every_form_names_the_same_classes(form: str, tmp_path: Path) -> None:
    assert read(tmp_path, SAME[form]) == ("cat", "cup", "rocket")


#: Names that look like more than names, and stay as they are.
KEPT = [
    ("7 up", "3d printer", "coffee"),
    ("tench, Tinca tinca", "goldfish, Carassius auratus"),
    ("3d printer", "2-seater", "4x4"),
    ("0", "1", "2"),
    ("5", "3", "8"),
    ("grade 0", "grade 1", "grade 2"),
    ("grade 1", "grade 2", "grade 3"),
    ("0 fingers", "1 fingers", "2 fingers"),
    ("area 51", "boeing 747"),
    ("sea lion", "great tit"),
    ("it's", "'tis the season", 'a "quoted" word'),
    ("names", "classes"),
    ("a: b", "c: d"),
    ("cat,Katze", "dog,Hund"),
    ("n01440764", "n01443537"),
    ("-cat", "-dog"),
    ("cat", "0 dog"),
    ("[unknown]", "cat"),
    ("{x}", "cat"),
]


@pytest.mark.parametrize("names", KEPT)
def test_names_are_not_mangled(names: Tuple[str, ...], tmp_path: Path) -> None:
    assert read(tmp_path, "\n".join(names) + "\n") == names


OTHER_FORMS = [
    ("names: [it's, \"o'clock\", dog]\n", ("it's", "o'clock", "dog")),
    ("names: {0: 'a, b', 1: it's}\n", ("a, b", "it's")),
    ('"1": dog\n"0": cat\n', ("cat", "dog")),
    ("(1) dog\n(0) cat\n", ("cat", "dog")),
    ("[1] dog\n[0] cat\n", ("cat", "dog")),
    ("1 - dog\n0 - cat\n", ("cat", "dog")),
    ("1 -> dog\n0 -> cat\n", ("cat", "dog")),
    ("1|dog\n0|cat\n", ("cat", "dog")),
    ("1.0,dog\n0.0,cat\n", ("cat", "dog")),
    ("n02119789 1 fox\nn02100735 0 setter\n", ("setter", "fox")),
    ("n02119789 1\nn02100735 0\n", ("n02100735", "n02119789")),
]


@pytest.mark.parametrize(("text", "names"), OTHER_FORMS)
def test_an_index_in_other_clothes_gives_the_order(text: str, names: Tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / "labels") == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1: dog\n- 0: cat\n", "not understood"),
        ("names: ['cat, dog]\n", "is not closed"),
        ("n02119789 1 fox\nn02100735 2 setter\n", "count from 0"),
    ],
)
def test_an_order_that_is_not_read_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=says):
        read_labels(tmp_path / "labels")


def test_a_comma_in_a_name(tmp_path: Path) -> None:
    expected = ("tench, Tinca tinca", "goldfish")
    for text in (
        '0,"tench, Tinca tinca"\n1,goldfish\n',
        '"tench, Tinca tinca",0\ngoldfish,1\n',
        '"tench, Tinca tinca"\ngoldfish\n',
        "0,tench, Tinca tinca\n1,goldfish\n",
        "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
        "0: tench, Tinca tinca\n1: goldfish\n",
        "{0: 'tench, Tinca tinca',\n 1: 'goldfish'}",
        "names:\n  0: tench, Tinca tinca\n  1: goldfish\n",
        'names: ["tench, Tinca tinca", goldfish]\n',
    ):
        assert read(tmp_path, text) == expected, text


REFUSED = [
    ("1 cat\n2 cup\n3 rocket\n", r"indexes go from 1 \('cat'\) to 3, .* count the classes from 0"),
    ("1,cat\n2,cup\n", "indexes go from 1"),
    ("cat: 1\ncup: 2\n", "indexes go from 1"),
    ("cat 1\ncup 2\n", "indexes go from 1"),
    ('{"1": "cat", "2": "cup"}', "indexes go from 1"),
    ('{"cat": 1, "cup": 2}', "indexes go from 1"),
    ("names:\n  1: cat\n  2: cup\n", "indexes go from 1"),
    ("0 cat\n1 cup\n3 rocket\n", r"index 2 is missing: 'rocket', with 3, comes next"),
    ("0,cat\n1,cup\n1,rocket\n", "index 1 is both 'cup' and 'rocket'"),
    ('{"0": "cat", "0": "cup"}', "'0' is there twice"),
    ('{"cat": 0, "cat": 1}', "'cat' is there twice"),
    (
        "10 euro\n20 euros\n50 euros\n",
        "If these numbers are parts of the names, write the names as a JSON list",
    ),
    ("index,name\n0,cat\n2,cup\n", "index 1 is missing"),
    ("index,name\n0,cat\nx,cup\n", "no index in the line 'x,cup'"),
    ("nummer,naam\n0,cat\n1,cup\n", "if 'nummer, naam' is a header, remove it"),
    ("0,1\n1,0\n", "nothing tells which of them counts"),
    ('{"0": "1", "1": "2", "2": "0"}', "nothing tells which are the names"),
    ('["cat", {"x": 1}]', "is no name of a class"),
    ('["cat", null]', "is no name of a class"),
    (r'["cat", "\ud83d"]', r"'.ud83d' has half of a character"),
    (r'{"0": "cat", "1": "cup \ude00"}', r"'cup .ude00' has half of a character"),
    (r"{'cat \ud83d': 0, 'cup': 1}", r"'cat .ud83d' has half of a character"),
    ('{"a": {"b": 1}}', "neither its keys nor its values are all indexes"),
    ("{}", "it names no class"),
    ("[]", "neither a list of names"),
    ('["cat", "cup"', "looks like JSON, but is none"),
    ('{"classes": ["a", "b"], "names": ["b", "a"]}', "classes and names name other classes"),
    ("{cat, cup}", "looks like JSON, but is none"),
    ("[" * 100_000 + "]" * 100_000, "nested too deeply|looks like JSON"),
    ("nc: 4\nnames:\n  0: cat\n  1: cup\n", "nc is 4, but there are 2 names"),
    ("names:\n  animals:\n    0: cat\n", "nested otherwise"),
    ("names: [cat, &x dog]\n", "not understood here"),
    ("names: [cat, dog\n", "is not closed"),
    ("- &anchor cat\n- *anchor\n", "not understood here"),
    ("item {\n  id: 1\n  name: 'cat'\n}\n", "TensorFlow's object detection"),
    ("<!DOCTYPE html>\n<html></html>\n", "a web page"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git lfs pull"),
    ("cat\0cup\n", "not text"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_what_is_not_clear_is_refused(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        read(tmp_path, text)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marks_tell_the_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("hühner\r\n猫\r\n".encode(encoding))
    assert read_labels(path) == ("hühner", "猫")


@pytest.mark.parametrize("content", ["猫\n".encode("shift_jis"), "cat\n".encode("utf-16-be"), b"\xff\xfea"])
def test_other_encodings_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="save it as UTF-8"):
        read_labels(path)
