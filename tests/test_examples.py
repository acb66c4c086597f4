"""What a reader copies from the README and the documents runs as it stands, as far as this machine can tell.

A line for a shell is taken apart as a shell does. `nanofleet` and `python -m bench` read their arguments by
the real parsers, `make` must have its targets, Mosquitto's clients must know their flags, files of the
repository must be there. What needs another machine, or root, is named below: a program that is neither
checked nor named fails.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Set, Type

import pytest

from bench.settings import BenchSettings
from fleet.cli import layout
from fleet.commands import COMMANDS, find, split
from fleet.logs import JsonFormatter
from labels.groups import read_groups
from tests.harness import need
from wire.camera_settings import read_cameras
from wire.flags import choices_of, is_positional
from wire.messages import Message, Rejection, Result
from wire.settings import PASSWORD_VARIABLE, Settings

REPOSITORY = Path(__file__).parent.parent
PAGES = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *(REPOSITORY / "labels/README.md", *sorted((REPOSITORY / "deploy").rglob("*.md"))),
]
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_ENVIRONMENT = re.compile(r"\bNANOFLEET_[A-Z][A-Z_]*[A-Z]\b")

#: Programs of others that a page names, and why no test runs them.
NOT_RUN = {
    **dict.fromkeys(("apt-get", "systemctl", "journalctl", "sudoedit", "groupadd"), "changes this machine"),
    **dict.fromkeys(
        ("docker", "scp", "curl", "git", "promtool"), "needs what a page's own test has, or another machine"
    ),
    **dict.fromkeys(("cp", "install", "mkdir", "chown", "chmod", "rm", "sed", "export"), "of every system"),
    **dict.fromkeys(("cd", "set", ".", "eval", "cut", "head", "grep", "sha256sum", "jq"), "of every system"),
    "assemble.sh": "tests/deploy/test_home_assistant_addon.py",
    "pip": "tests/test_packaging.py and tests/test_without_torch.py; its extras: tests/test_docs.py",
    "python": "the environment that is made before",
    "python3": "makes an environment",
}


def blocks(page: Path, language: str) -> List[str]:
    """The blocks of a page in some language."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [block for name, block in found if name == language]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def with_blocks(language: str) -> List[object]:
    """The pages that have such blocks, as parameters of a test."""
    return [pytest.param(page, id=name_of(page)) for page in PAGES if blocks(page, language)]


def shell_lines(page: Path) -> Iterator[str]:
    """The lines for a shell: of blocks, and those of an example that begin with a prompt."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            # What a substitution runs is a line of its own.
            yield from re.findall(r"\$\(([^()]*)\)", line)
            yield line.strip()
    for block in blocks(page, ""):
        yield from (line.strip()[2:] for line in block.splitlines() if line.strip().startswith("$ "))


def commands(line: str) -> Iterator[List[str]]:
    """The simple commands of a line, without what a shell takes for itself."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: List[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if set(word) <= set("();|&"):
            words = words[1:] if words[:1] == ["do"] else words
            yield from [words] if words and words[0] not in ("for", "while", "done") else []
            words = []
        elif redirected or set(word) <= set("<>&"):
            redirected = not redirected
        else:
            words.append(word)


def program_of(words: List[str]) -> List[str]:
    """A command without sudo, variables before it, and the folder of its program."""
    while words and (words[0] == "sudo" or re.match(r"[A-Z_]+=", words[0])):
        words = words[1:]
    return [words[0].rpartition("/")[2] or words[0], *words[1:]] if words else []


def read(words: List[str]) -> None:
    """Have nanofleet's own parser read a command, which raises SystemExit or a SettingsError."""
    if words[:1] == ["help"] or words[-1:] in (["--help"], ["--version"]):
        words = [word for word in words if not word.startswith("--") and word != "help"]
        assert not words or split(words)[0] in COMMANDS, words
        return
    name, rest = split(words)
    find(name).settings.from_command_line(f"nanofleet {name}", rest, layout())


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of nanofleet's variables."""
    for name in filter(_ENVIRONMENT.fullmatch, list(os.environ)):
        monkeypatch.delenv(name)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    """A block by indentation alone would be passed over by the tests here."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    languages = {language for language, _ in _BLOCK.findall(page.read_text(encoding="utf-8"))}
    assert languages <= {"", "sh", "json", "toml", "yaml", "python"}
    assert not re.search(r"(?m)^\n {4}(sudo |python |nanofleet |mosquitto|pip )", text)


@pytest.mark.parametrize("page", with_blocks("sh"))
def test_a_shell_can_read_its_lines(page: Path) -> None:
    for block in blocks(page, "sh"):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), block


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_command_is_read_by_its_program(page: Path) -> None:
    here = REPOSITORY
    for line in shell_lines(page):
        for words in map(program_of, commands(line)):
            if not words:
                continue
            program, arguments = words[0], words[1:]
            if program == "nanofleet":
                read(arguments)
            elif program == "make":
                check_make(arguments)
            elif words[1:3] == ["-m", "bench"]:
                check_bench(words[3:])
            elif program in ("mosquitto_pub", "mosquitto_sub"):
                check_client(program, arguments)
            else:
                assert program in NOT_RUN, line
            for word in arguments:
                if word.startswith(("deploy/", "docs/", "tests/")):
                    assert (here / word).exists(), line
            if program == "cd" and (here / arguments[0]).is_dir() and not line.startswith("("):
                here = here / arguments[0]


def check_make(arguments: List[str]) -> None:
    """Its targets and variables are those of the Makefile."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z-]+):", text))
    for word in arguments:
        name, _, value = word.partition("=")
        assert name in targets if not value else f"$({name})" in text or f"$(if $({name})" in text, word


def check_bench(arguments: List[str]) -> None:
    if arguments != ["--help"]:
        BenchSettings.from_command_line("python -m bench", arguments)


def check_client(program: str, arguments: List[str]) -> None:
    """A client of Mosquitto's knows the flags, and the fleet the topics."""
    usage = subprocess.run([need(program), "--help"], capture_output=True, text=True, check=False).stdout
    known = set(re.findall(r"(?<![\w-])-{1,2}[A-Za-z][\w-]*", usage))
    assert {word for word in arguments if word.startswith("-")} <= known, arguments
    for flag, topic in zip(arguments, arguments[1:]):
        if flag == "-t" and topic.startswith("nanofleet/"):
            assert topic.split("/")[1] in KINDS, topic


#: The first level below the root of all topics that docs/topics.md lists.
KINDS = set(re.findall(r"`nanofleet/(\w+)/", (REPOSITORY / "docs/topics.md").read_text(encoding="utf-8")))


def in_sentences(page: Path) -> Iterator[str]:
    """The commands of nanofleet that stand within a sentence."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8")).replace("\\|", "|")
    for code in re.findall(r"`(nanofleet [^`]+)`", text.replace("COMMAND", "worker")):
        first, *others = re.split(r" \| (?=[a-z]+(?: \||$))", " ".join(code.split()))
        yield first
        # `nanofleet models list | show`: the last word stands for several.
        yield from (f"{first.rpartition(' ')[0]} {other}" for other in others)


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_a_sentence_exist(page: Path) -> None:
    for command in in_sentences(page):
        words = next(commands(command))[1:]
        name, rest = split(words)
        if re.match(r"nanofleet [a-z ]+: ", command) or not rest:  # a message of it, or only its name
            name = name.rstrip(":")
            assert name in ("help", *COMMANDS) or any(each.startswith(f"{name} ") for each in COMMANDS), (
                command
            )
        elif "…" not in words:
            left_out = arguments_of(COMMANDS[name].settings) if rest[0].startswith("-") else []
            read([*words, *left_out])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_in_a_sentence_exist(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`make ([^`]+)`", text):
        check_make(code.split())


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_its_help_are_read_by_a_command(name: str) -> None:
    lines = (COMMANDS[name].settings.__doc__ or "").splitlines()
    for line in lines:
        # What an example is for stands behind it, apart.
        example = re.split(r" {2,}(?=\S)", line.strip())[0].split("  ")[0]
        for words in map(program_of, commands(example) if example.startswith("nanofleet ") else ()):
            if words[0] == "nanofleet":
                read(words[1:])


# --- JSON, TOML, variables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["README.md", "docs/topics.md"])
def test_an_answer_is_shown(page: str) -> None:
    assert any('"label"' in block for block in blocks(REPOSITORY / page, "json"))


@pytest.mark.parametrize("page", with_blocks("json"))
def test_json_is_as_the_code_writes_it(page: Path) -> None:
    record = logging.LogRecord("wire", logging.WARNING, "", 0, "text", (), None)
    logged = set(json.loads(JsonFormatter().format(record)))
    for block in blocks(page, "json"):
        shown = json.loads(block)
        if "level" in shown:
            assert set(shown) == logged
            continue
        kind: Type[Message] = Rejection if "reason" in shown else Result
        written = json.loads(kind.decode(block.encode()).encode())
        assert set(shown) <= set(written), "a field that nobody writes"


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("page", with_blocks("toml"))
def test_a_file_of_settings_is_read_by_every_command(page: Path, tmp_path: Path) -> None:
    toml = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    for block in blocks(page, "toml"):
        if is_of_cameras_or_groups(block, tmp_path):
            continue
        file = tmp_path / "fleet.toml"
        file.write_text(block, encoding="utf-8")
        for name, command in COMMANDS.items():
            named = ["nano-1"] if name == "workers forget" else arguments_of(command.settings)
            argv = [*named, "--config", str(file)]
            settings = command.settings.from_command_line(f"nanofleet {name}", argv, layout())
            section = toml.loads(block)
            for word in name.split():
                section = section.get(word, {})
            own = {key: value for key, value in section.items() if not isinstance(value, dict)}
            for key, value in own.items():
                assert getattr(settings, key) in (value, [value]), (name, key)


def is_of_cameras_or_groups(block: str, folder: Path) -> bool:
    """Whether a file is read as one of --cameras or of groups: in the pages those have a door or a cat."""
    file = folder / "other.toml"
    file.write_text(block, encoding="utf-8")
    if block.startswith("cat ="):
        assert read_groups(file)
    elif "[door]" in block:
        assert read_cameras(file)
    else:
        return False
    return True


def arguments_of(settings: Type[Settings]) -> List[str]:
    """What a command works on, where it must be named."""
    fields = [field for field in settings.model_fields.values() if is_positional(field)]
    named = {"file": "x.onnx", "changes": "name=Garden"}
    return [
        (choices_of(field) or [named.get(name, "door")])[0]
        for name, field in settings.model_fields.items()
        if field in fields and field.is_required()
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_variables_are_settings(page: Path) -> None:
    known: Set[str] = {PASSWORD_VARIABLE}
    for command in COMMANDS.values():
        known |= command.settings.variables()
    named: Dict[str, int] = dict.fromkeys(_ENVIRONMENT.findall(page.read_text(encoding="utf-8")), 1)
    named.pop("NANOFLEET_MODLE", None)  # the typo that docs/troubleshooting.md shows the answer to
    assert set(named) <= known


@pytest.mark.parametrize("page", with_blocks("python"))
def test_python_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)
