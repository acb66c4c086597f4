"""One file for all commands: what each reads of it, and what is said of a key that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.cli import COMMANDS, layout
from tests.harness import nanofleet
from wire.config_file import read_config
from wire.errors import SettingsError

FLEET = """
broker = "mqtt://broker.lan"
root = "garden"
log_level = "debug"

[worker]
model = "resnet18"
window = 8
root = "shed"

[publish]
camera = ["door", "gate"]

[models.use]
canary = 1
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in COMMANDS.values():
        for variable in command.settings.variables():
            monkeypatch.delenv(variable, raising=False)


def read(tmp_path: Path, command: str, text: str, *argv: str) -> dict:  # type: ignore[type-arg]
    path = tmp_path / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    line = [*argv, "--config", str(path)]
    settings = COMMANDS[command].settings.from_command_line(f"nanofleet {command}", line, layout())
    return settings.model_dump()


def test_each_command_reads_what_is_shared_and_its_own(tmp_path: Path) -> None:
    worker = read(tmp_path, "worker", FLEET)
    assert (worker["broker"], worker["root"], worker["log_level"]) == ("mqtt://broker.lan", "shed", "debug")
    assert (worker["model"], worker["window"]) == ("resnet18", 8)
    publish = read(tmp_path, "publish", FLEET, "cat.jpg")
    assert (publish["broker"], publish["root"]) == ("mqtt://broker.lan", "garden")
    assert (publish["camera"], publish["window"]) == (["door", "gate"], 64)
    assert read(tmp_path, "models use", FLEET, "resnet50")["canary"] == 1
    # It has no broker, and passes it by.
    assert read(tmp_path, "classify", FLEET, "cat.jpg")["log_level"] == "debug"


def test_a_file_of_one_command_needs_no_section(tmp_path: Path) -> None:
    worker = read(tmp_path, "worker", 'broker = "mqtt://b"\nmodel = "resnet18"\n')
    assert (worker["broker"], worker["model"]) == ("mqtt://b", "resnet18")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_bacth = 2", "max_bacth in {}: there is no such setting; did you mean max_batch?"),
        ("resend_after = 2", "resend_after in {}: worker has no such setting; it belongs in [publish]"),
        (
            "spol_size = 2",
            "spol_size in {}: there is no such setting; did you mean spool_size? It belongs in ",
        ),
        ("[worker]\nfps = 2", "fps in [worker] of {}: worker has no such setting; it belongs in [publish]"),
        ("[publish]\nmax_bacth = 2", "max_bacth in [publish] of {}: there is no such setting; did you mean"),
        (
            "[classify]\nroot = 'x'",
            "root in [classify] of {}: classify has no such setting; it belongs at the top",
        ),
        ("[wroker]\nmodel = 'x'", "[wroker] in {}: no such command; did you mean [worker]?"),
        ("[models.usee]\ncanary = 1", "[models.usee] in {}: no such command; did you mean [models.use]?"),
        ("zzz = 2", "zzz in {}: there is no such setting"),
    ],
)
def test_a_key_that_is_none_is_named_with_where_it_belongs(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "worker", text)
    assert str(caught.value).startswith(says.format(tmp_path / "fleet.toml"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "worker", "zzz = 2\n[publish]\nyyy = 1\n")
    assert len(str(caught.value).splitlines()) == 2


def test_what_a_command_works_on_stands_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text("[publish]\nsources = ['a.jpg']\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"sources in .*: there is no such setting"):
        read_config(path, "publish", layout(), "--config")


def test_worker_and_publish_by_the_command(tmp_path: Path) -> None:
    """Both get as far as the broker, whose name is wrong on purpose."""
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.replace("mqtt://broker.lan", "htp://x"), encoding="utf-8")
    for command in (["worker"], ["publish", __file__]):
        run = nanofleet(*command, "--config", str(path))
        assert run.returncode == 2
        assert f"nanofleet {command[0]}: broker in {path}: htp://x: write mqtt://HOST" in run.stderr


def test_a_section_may_be_written_in_both_ways_at_once(tmp_path: Path) -> None:
    use = read(tmp_path, "models use", '["models use"]\ncanary = 1\n[models.use]\ntimeout = 7\n', "resnet18")
    assert (use["canary"], use["timeout"]) == (1, 7)
