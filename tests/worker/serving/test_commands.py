"""Which command is in force, and what comes of it."""

from __future__ import annotations

import errno
import queue
from pathlib import Path
from typing import Callable, ContextManager, List, Optional, Tuple

import pytest

from tests.harness import wait_for
from wire.errors import SettingsError
from wire.messages import Change, ModelCommand
from wire.model_choice import ModelChoice
from worker.serving.commands import Commands

FLEET, MINE = "nanofleet/control/model", "nanofleet/control/w1/model"
OWN = ModelChoice(model="own")


def command(model: str, compare: bool = False) -> bytes:
    return ModelCommand(id=f"id-{model}", choice=ModelChoice(model=model), compare=compare).encode()


class Following:
    """A Commands whose changes are kept in order; it blocks or fails where the test says so."""

    def __init__(self, folder: Path) -> None:
        self.changes: queue.Queue[Tuple[str, bool]] = queue.Queue()
        self.reports: List[Optional[Change]] = []
        self.before: Callable[[str], None] = lambda model: None
        note = folder / "w1.model"
        self.commands = Commands([MINE, FLEET], OWN, folder, note, change_to=self._change_to)

    def _change_to(self, choice: ModelChoice, compare: bool) -> None:
        self.before(choice.model)
        self.changes.put((choice.model, compare))

    def _report(self) -> None:
        self.reports.append(self.commands.change)

    def begun(self) -> ContextManager[None]:
        return self.commands.following(self._report)

    def next(self) -> Tuple[str, bool]:
        return self.changes.get(timeout=60)

    def wait_state(self, state: str) -> Change:
        wait_for(lambda: self.commands.change is not None and self.commands.change.state == state)
        assert self.commands.change is not None
        return self.commands.change


def test_the_command_for_one_worker_goes_before_the_fleets(tmp_path: Path) -> None:
    following = Following(tmp_path)
    receive = following.commands.receive
    with following.begun():
        receive(FLEET, command("a"))
        assert following.next() == ("a", False)
        receive(MINE, command("b", compare=True))
        assert following.next() == ("b", True)
        receive(FLEET, command("c"))
        receive(MINE, b"")
        assert following.next() == ("c", False)
        receive(FLEET, b"")
        assert following.next() == ("own", False)
        wait_for(lambda: following.commands.change is None)
    assert [change and (change.model, change.state) for change in following.reports] == [
        ("a", "loading"),
        ("a", "serving"),
        ("b", "loading"),
        ("b", "serving"),
        ("c", "loading"),
        ("c", "serving"),
        None,
    ]


def test_a_command_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    following = Following(tmp_path)
    with following.begun():
        for _ in range(3):
            following.commands.receive(FLEET, command("a"))
        assert following.next() == ("a", False)
        following.commands.receive(FLEET, command("b"))
        assert following.next() == ("b", False)
    assert following.changes.empty()


def test_of_several_while_one_loads_the_last_is_followed(tmp_path: Path) -> None:
    following = Following(tmp_path)
    gate: queue.Queue[None] = queue.Queue()
    following.before = lambda model: gate.get(timeout=60)
    with following.begun():
        following.commands.receive(FLEET, command("a"))
        following.wait_state("loading")
        for model in "bcd":
            following.commands.receive(FLEET, command(model))
        gate.put(None)
        gate.put(None)
        assert [following.next()[0], following.next()[0]] == ["a", "d"]


@pytest.mark.parametrize("error", [SettingsError("no such model"), RuntimeError("out of memory")])
def test_a_failure_is_reported_and_the_next_command_followed(error: Exception, tmp_path: Path) -> None:
    def fail(model: str) -> None:
        if model == "bad":
            raise error

    following = Following(tmp_path)
    following.before = fail
    with following.begun():
        following.commands.receive(FLEET, command("bad"))
        change = following.wait_state("failed")
        assert str(error) in change.detail
        assert (change.command, change.topic, change.model) == ("id-bad", FLEET, "bad")
        assert change.instead_of == "own"
        following.commands.receive(FLEET, command("good"))
        assert following.next() == ("good", False)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"resnet18", "not a ModelCommand"),
        (b'{"choice": {"modle": "x"}}', "modle"),
        (command("resnet18@/etc/x.pth"), "not a file below"),
    ],
)
def test_what_cannot_be_followed_is_reported(payload: bytes, says: str, tmp_path: Path) -> None:
    following = Following(tmp_path)
    with following.begun():
        following.commands.receive(MINE, payload)
        assert says in following.wait_state("failed").detail
    assert following.changes.empty()


def test_a_served_command_that_cannot_be_noted_is_no_failure(tmp_path: Path) -> None:
    """A folder in the note's place stands for a disk that is full or read-only."""
    (tmp_path / "w1.model").mkdir()
    following = Following(tmp_path)
    with following.begun():
        following.commands.receive(FLEET, command("a"))
        assert following.wait_state("serving").model == "a"
        following.commands.receive(FLEET, b"")
        wait_for(lambda: following.commands.change is None)
    assert following.commands.first_choices({}) == [OWN]


def test_a_note_that_cannot_be_removed_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = Following(tmp_path)
    with following.begun():
        following.commands.receive(FLEET, command("a"))
        following.wait_state("serving")

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    again = Following(tmp_path).commands
    assert [choice.model for choice in again.first_choices(None)] == ["a", "own"]
    assert again.first_choices({}) == [OWN]


def test_a_command_that_is_taken_back_before_the_session_begins_is_not_followed_for_ever(
    tmp_path: Path,
) -> None:
    following = Following(tmp_path)
    commands = following.commands
    assert [c.model for c in commands.first_choices({MINE: command("a"), FLEET: command("b")})] == [
        "a",
        "own",
    ]
    with following.begun():
        assert following.next() == ("a", False)
        commands.receive(FLEET, command("b"))  # this one still stands
        commands.all_received()
        assert following.next() == ("b", False)
        commands.all_received()
    assert following.changes.empty()
