"""What the documents point to is there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import List

import pytest

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "labels/README.md", *(REPOSITORY / "docs").glob("*.md")]
_ROW = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`(?: `\[([^\]]+)\]`)?")


def rows() -> List[str]:
    """The rows of docs/models.md's tables that say which test runs them."""
    text = (REPOSITORY / "docs/models.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\|.*\| test \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


@pytest.mark.parametrize("row", rows())
def test_each_way_to_pass_a_model_has_its_test(row: str) -> None:
    found = _ROW.search(row)
    assert found, "no test is named"
    file, function, case = found.groups()
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if case is not None:
        expected = json.loads((REPOSITORY / "tests/tools/files/expected.json").read_text(encoding="utf-8"))
        passed = expected[case]["args"]
        # The pictures there are as small as the model; whatever else the test passes, the row says.
        given = dict(zip(passed[::2], passed[1::2]))
        given.pop("--resize", None)
        if given.get("--scaling") == "imagenet":  # which is assumed otherwise
            given.pop("--scaling")
        assert all(f"{flag} {value}" in row for flag, value in given.items())
        if expected[case]["multi_label"]:
            assert "--threshold" in row
        if expected[case]["assumes"]:
            assert "assumed and said" in row


def test_every_file_of_a_tool_has_its_row() -> None:
    expected = json.loads((REPOSITORY / "tests/tools/files/expected.json").read_text(encoding="utf-8"))
    cases = {found.group(3) for found in map(_ROW.search, rows()) if found}
    assert cases - {None} == set(expected)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            there = document.parent / file if file else document
            assert there.exists(), f"{document.name} points to {target}"
            if anchor:
                assert anchor in _anchors(there.read_text(encoding="utf-8"))


def _anchors(text: str) -> List[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
