"""The table of commands, and what is found by it."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import typing
from pathlib import Path
from typing import List

import pytest

from fleet.cli import main
from fleet.commands import COMMANDS, Command
from tests.harness import nanofleet
from wire.settings import Settings


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_runs_what_takes_its_settings(name: str) -> None:
    """The table names them by text, which no type checker reads."""
    command = COMMANDS[name]
    pytest.importorskip({"provision": "cryptography", "worker": "torch"}.get(command.extra, "wire"))
    run = command.load_runner()
    (parameter,) = inspect.signature(run).parameters
    module = importlib.import_module(command.runner.partition(":")[0])
    hints = typing.get_type_hints(run, vars(module))
    assert hints[parameter] is command.settings
    assert hints["return"] is int


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_same_by_both_ways(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for arguments in (["help", *name.split()], [*name.split(), "--help"]):
        with pytest.raises(SystemExit, match=r"^0$"):
            main(arguments)
        said.append(capsys.readouterr())
    asked, flagged = said
    assert asked == flagged
    assert asked.err == ""
    assert f"usage: nanofleet {name} " in asked.out
    for common in ("--config PATH", "--log-level", "--log-format"):
        assert common in asked.out


def test_help_alone_and_of_a_group() -> None:
    for group in ([], ["models"]):
        asked = nanofleet("help", *group)
        assert asked.returncode == 0
        assert asked.stdout == nanofleet(*group, "--help").stdout
        assert all(name in asked.stdout for name in COMMANDS if not group or name.startswith("models "))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["help", "wroker"], "did you mean 'worker'"),
        (["wroker"], "did you mean 'worker'"),
        (["wroker", "--model", "x"], "did you mean 'worker'"),
        (["workers", "forgt", "nano-1"], "did you mean 'workers forget'"),
        (["workers", "list"], "there are workers, workers forget"),
        (["camera"], "did you mean 'cameras'"),
        (["camera", "list", "--json"], "did you mean 'cameras list'"),
        (["cameras", "rm", "door"], "did you mean 'cameras remove'"),
        (["models", "usee", "resnet50"], "did you mean 'models use'"),
        (["--bogus"], "there are demo, worker, "),
        (["quux"], "there are demo, worker, "),
        (["settings", "wroker"], "there is no such command"),
        (["completion", "ksh"], "SHELL: input should be 'bash', 'zsh' or 'fish', not 'ksh'"),
    ],
)
def test_typos(words: List[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as error:  # of the parser
        code = int(error.code or 0)
    assert code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("blocked", "command", "extra"),
    [
        ("torchvision", ["models", "list"], "worker"),
        ("numpy", ["classify", "x.jpg"], "worker"),
        ("prometheus_client", ["worker"], "worker"),
        ("rich.progress", ["demo"], "demo"),
    ],
)
def test_a_module_that_is_missing_names_its_extra(blocked: str, command: List[str], extra: str) -> None:
    code = f"import sys; sys.modules[{blocked!r}] = None; from fleet.cli import main; sys.exit(main())"
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
    assert f"in a clone of nanofleet's repository, pip install '.[{extra}]'" in run.stderr


def test_the_operators_commands_need_no_torch() -> None:
    """They run where there is nothing but the base install: on a camera, or on a laptop."""
    blocked = ["torch", "torchvision", "numpy", "PIL", "prometheus_client", "iotcore", "cryptography"]
    runs = (
        *("workers.list", "workers.forget", "models.use"),
        *("results.run", "spool.run", "commands.example", "commands.completion"),
    )
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n" + "\n".join(
        f"import fleet.{run}" for run in runs
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("runner", "code", "message"),
    [
        ("well", 0, ""),
        ("not_well", 1, ""),
        ("fails", 1, "nanofleet probe run: it fails\n"),
        ("wrong", 2, "nanofleet probe run: NANOFLEET_LOG_LEVEL: it is wrong\n"),
        ("refused", 3, "nanofleet probe run: it is refused\n"),
        ("duplicate", 4, "nanofleet probe run: it is a duplicate\n"),
        ("interrupted", 130, ""),
        (
            "incomplete",
            2,
            "nanofleet probe run: nobody_has_this is not installed: in a clone of nanofleet's repository, "
            "pip install '.[probe]'\n",
        ),
    ],
)
def test_a_row_is_a_command_and_its_end_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runner: str, code: int, message: str
) -> None:
    row = Command(Settings, f"tests.fleet.runners:{runner}", "ends", extra="probe")
    monkeypatch.setitem(COMMANDS, "probe run", row)
    monkeypatch.setenv("NANOFLEET_LOG_LEVEL", "error")
    assert main(["probe", "run"]) == code
    assert capsys.readouterr().err == message
    assert main(["help", "probe"]) == 0
    assert "probe run" in capsys.readouterr().out


def test_a_module_of_our_own_that_is_missing_is_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Command(Settings, "tests.fleet.runners:broken", "ends", extra="probe")
    monkeypatch.setitem(COMMANDS, "probe run", row)
    with pytest.raises(ModuleNotFoundError, match=r"labels\.nobody_has_this"):
        main(["probe", "run"])


@pytest.mark.parametrize(
    ("name", "arguments", "unbuffered"),
    [
        ("completion", ["bash"], "1"),
        ("settings", ["worker"], ""),
        ("spool list", ["--spool-dir", "/nowhere"], ""),  # so little that all of it is written at the end
    ],
)
def test_an_output_that_cannot_be_written_is_named(name: str, arguments: List[str], unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "fleet", *name.split(), *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr == f"nanofleet {name}: stdout: No space left on device\n"


def test_a_command_may_be_started_without_its_streams(tmp_path: Path) -> None:
    closed = 'exec "$@" <&- >&- 2>&-'
    command = [sys.executable, "-m", "fleet", "spool", "list", "--spool-dir", str(tmp_path)]
    assert subprocess.run(["sh", "-c", closed, "sh", *command], check=False).returncode == 0
    command = [sys.executable, "-m", "fleet", "publish", "-"]
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (2, "nanofleet publish: -: stdin gave no bytes\n")
