"""What the documents point to is there."""

from __future__ import annotations

import ast
import functools
import json
import re
import string
from pathlib import Path
from typing import Iterator, List, Set, Type

import pytest

from fleet.cameras.set import KEYS as CAMERA_SETTINGS
from fleet.commands import COMMANDS
from wire.cameras import CameraEvent, CameraSettings, CameraState, SnapshotNotice
from wire.messages import (
    AdoptionClaim,
    Beacon,
    Message,
    ModelCommand,
    Rejection,
    Result,
    WorkerAction,
    WorkerStatus,
)
from wire.observers import ObserverStatus
from wire.settings import flag_of, is_positional
from wire.topics import Topics

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "labels/README.md", *(REPOSITORY / "docs").glob("*.md")),
    *(REPOSITORY / "deploy").rglob("*.md"),
]
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


# --- What the pages quote -----------------------------------------------------------------------------

#: Pages that quote nothing are among them: the next sentence may.
PAGES = DOCUMENTS
#: What others say, and we quote: OpenSSL, the C library, paho, Mosquitto and its clients, pydantic.
OTHERS = [
    *("unable to get local issuer certificate", "certificate has expired", "certificate is not yet valid"),
    *("IP address mismatch, certificate is not valid for", "Connection refused", "Hostname mismatch"),
    *("Name or service not known", "Address already in use", "No such file or directory"),
    *("Unspecified error", "The connection was lost.", "disconnected due to oversize packet"),
    "Too high QoS in PUBLISH",
    *("Input should be 1", "URLError: <urlopen error", "received PUBACK (Mid:"),
]
_LOG_LINE = re.compile(r"(?:\d{4}-\d\d-\d\dT[\d:.]+Z )?(?:INFO|WARNING|ERROR) +(.*)")
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\S*[^\W\d]{2}\S*")
#: Of what is filled in: a name, a path, a topic.
_MOST_WORDS_OF_A_VALUE = 3


@functools.lru_cache(maxsize=None)
def fragments() -> List[str]:
    """The literal text of every message in the source, between what is filled in; the longest first."""
    found: Set[str] = set(OTHERS)
    for package in ("wire", "worker", "publisher", "fleet"):
        for path in (REPOSITORY / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                said = isinstance(node, ast.Constant) and isinstance(node.value, str)
                if said and id(node) not in docstrings:
                    found.update(re.split(r"%[\d.]*[sdrgfx]|%%|\n", node.value))
    texts = {text.strip(string.whitespace + ":;,'") for text in found if len(text.split()) > 1}
    return sorted(texts, key=len, reverse=True)


def quotes(page: Path) -> Iterator[str]:
    """The messages on a page: lines of a log and last words of a command, in blocks and in backticks."""
    text = page.read_text(encoding="utf-8")
    for language, block in _BLOCK.findall(text):
        for line in [] if language else block.splitlines():
            logged = _LOG_LINE.fullmatch(line.strip())
            if logged:
                yield logged[1]
            elif line.startswith("nanofleet "):
                yield line
    for code in re.findall(r"`([^`]+)`", _BLOCK.sub("", text)):
        quoted = " ".join(code.replace("\\|", "|").split())
        # A command, a variable, JSON, or a query of Prometheus.
        is_other = re.search(r"[|] |(^| )--?[a-z]|^[A-Z_]+=|^apt-get|^{| by \(", quoted.split(" (--")[0])
        is_other = is_other or re.match(r"(cd|set|sudo|rm|\.) .*; ", quoted)
        if len(quoted.split()) > 4 and not is_other:
            yield quoted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_messages_are_quoted_as_the_code_has_them(page: Path) -> None:
    messages = list(quotes(page))
    assert len(messages) >= {"troubleshooting.md": 60, "upgrading.md": 1}.get(page.name, 0)
    unknown = []
    for left in messages:
        for fragment in fragments():
            left = left.replace(fragment, "\0")
        unknown += [
            part for part in re.split("\0|…", left) if len(_WORD.findall(part)) > _MOST_WORDS_OF_A_VALUE
        ]
    assert not unknown, "nothing in the code says so"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_commands_are_written_with_flags_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"\bnanofleet ([a-z][^`\n#|]*)", text):
        words = line.split()
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS), None)
        if name is None:
            continue
        fields = COMMANDS[name].settings.model_fields
        flags = {flag_of(field) for field in fields if not is_positional(fields[field])}
        given = {word.split("=")[0].rstrip(".,;:)") for word in words if re.match(r"--[a-z]", word)}
        assert given <= flags | {"--help"}, line


def test_extras_that_are_named_exist() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    there = set(re.findall(r"(?m)^([a-z-]+) = \[", section))
    pages = [*DOCUMENTS, *(REPOSITORY / "deploy").rglob("Dockerfile")]
    named = {
        extra
        for page in pages
        for extras in re.findall(r"(?:'\.|nanofleet)\[([a-z,-]+)\]", page.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert {"demo", "worker", "system-torch"} <= named <= there


# --- What the tables list -----------------------------------------------------------------------------

TOPICS = Topics("nanofleet")
#: Each message and the topic under which its fields stand in docs/topics.md.
MESSAGES = {
    Result: TOPICS.results("<camera>"),
    Rejection: TOPICS.rejects("<camera>"),
    WorkerStatus: TOPICS.worker("<worker>"),
    Beacon: TOPICS.beacon("<worker>"),
    AdoptionClaim: TOPICS.adoption("<dead>", "<worker>"),
    ModelCommand: TOPICS.model_command("<worker>"),
    WorkerAction: TOPICS.worker_action("<worker>"),
    SnapshotNotice: TOPICS.snapshot_notice("<camera>"),
    CameraState: TOPICS.camera("<camera>"),
    CameraEvent: TOPICS.camera_event("<camera>"),
    CameraSettings: TOPICS.camera_settings("<camera>"),
    ObserverStatus: TOPICS.observer("<observer>"),
}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_each_field_of_a_message_stands_in_the_table_of_topics(message: Type[Message]) -> None:
    lines = (REPOSITORY / "docs/topics.md").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if f"`{MESSAGES[message]}`" in line.split(" | ")[0]]
    assert [name for name in message.model_fields if f"`{name}`" not in row] == ["schema_"]


def test_each_setting_of_a_camera_stands_in_the_table_of_settings() -> None:
    text = (REPOSITORY / "docs/settings.md").read_text(encoding="utf-8")
    table = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    listed = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert set(CAMERA_SETTINGS) == listed
