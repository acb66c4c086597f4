"""One declaration, four places to set it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Optional

import pytest
from pydantic import Field
from typing_extensions import Literal

from publisher.settings import PublishSettings
from tests.harness import closed, nanofleet
from wire.errors import SettingsError
from wire.settings import Names, Settings


class Oven(Settings):
    """Settings of every kind."""

    max_batch: int = Field(8, ge=1, le=256, description="Loaves at once, 100% of them")
    heat: float = Field(1.5, description="How hot")
    mode: Literal["gas", "wood"] = Field("gas", description="What burns")
    tray: Names = Field([], description="Trays in turn")
    fan: bool = Field(True, description="Whether the fan runs")
    log_file: Optional[Path] = Field(None, description="Where to write")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Oven.variables():
        monkeypatch.delenv(name, raising=False)


def read(*argv: str) -> Oven:
    return Oven.from_command_line("oven", argv)


def toml(folder: Path, text: str) -> str:
    path = folder / "oven.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(*argv: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(*argv)
    return str(caught.value)


def test_flag_over_variable_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read().max_batch == 8
    config = toml(tmp_path, "max_batch = 2\nheat = 2.5\n")
    assert read("--config", config).max_batch == 2
    monkeypatch.setenv("NANOFLEET_MAX_BATCH", "3")
    assert read("--config", config).max_batch == 3
    assert read("--config", config, "--max-batch", "4").max_batch == 4
    assert read("--config", config, "--max-batch", "4").heat == 2.5


def test_a_flag_that_says_the_default_still_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOFLEET_MAX_BATCH", "3")
    assert read("--max-batch", "8").max_batch == 8


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOFLEET_CONFIG", toml(tmp_path, "max_batch = 2\n"))
    assert read().max_batch == 2


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOFLEET_MAX_BATCH", "")
    assert read().max_batch == 8


def test_an_empty_text_is_no_path(tmp_path: Path) -> None:
    assert refusal("--log-file", "").startswith("--log-file: an empty text names no file or folder")
    assert refusal("--config", "").startswith("--config: an empty text")
    config = toml(tmp_path, 'log_file = ""')
    assert refusal("--config", config).startswith(f"log_file in {config}: an empty text")


def test_lists_mean_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["low", "high"]
    assert read("--tray", "low,high").tray == wanted
    assert read("--tray", "low", "--tray", "high").tray == wanted
    assert read("--config", toml(tmp_path, 'tray = ["low", "high"]')).tray == wanted
    assert read("--config", toml(tmp_path, 'tray = "low,high"')).tray == wanted
    monkeypatch.setenv("NANOFLEET_TRAY", "low,high")
    assert read().tray == wanted


def test_switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read().fan is True
    assert read("--no-fan").fan is False
    assert read("--no-fan", "--fan").fan is True
    assert read("--config", toml(tmp_path, "fan = false")).fan is False
    monkeypatch.setenv("NANOFLEET_FAN", "no")
    assert read().fan is False
    assert read("--fan").fan is True


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--max-batch", "0"], "greater than or equal to 1, not '0'"),
        (["--max-batch", "many"], "not 'many'"),
        (["--heat", "warm"], "not 'warm'"),
        (["--mode", "coal"], "'gas' or 'wood', not 'coal'"),
    ],
)
def test_a_bad_value_names_where_it_came_from(
    argv: List[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag, value = argv
    key = flag[2:].replace("-", "_")
    text = refusal(*argv)
    assert text.startswith(f"{flag}: ")
    assert says in text
    config = toml(tmp_path, f"{key} = '{value}'")
    assert refusal("--config", config) == text.replace(flag, f"{key} in {config}", 1)
    config = toml(tmp_path, f"[oven]\n{key} = '{value}'")
    assert refusal("--config", config) == text.replace(flag, f"{key} in [oven] of {config}", 1)
    monkeypatch.setenv(f"NANOFLEET_{key.upper()}", value)
    assert refusal("--config", config) == text.replace(flag, f"NANOFLEET_{key.upper()}", 1)


def test_all_bad_values_are_told_at_once() -> None:
    assert len(refusal("--max-batch", "0", "--mode", "coal").splitlines()) == 2


def test_a_bad_variable_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOFLEET_MAX_BATCH", "1000")
    assert refusal().startswith("NANOFLEET_MAX_BATCH: ")
    assert "256, not '1000'" in refusal()


def test_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    config = toml(tmp_path, "max_bacth = 2\n")
    says = f"max_bacth in {config}: there is no such setting; did you mean max_batch?"
    assert refusal("--config", config) == says


@pytest.mark.parametrize("content", [b"max_batch = ", b"\xff\xfe", b"= 1"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    config = tmp_path / "bad.toml"
    config.write_bytes(content)
    assert refusal("--config", str(config)).startswith(f"--config {config}: ")


def test_a_file_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOFLEET_CONFIG", str(tmp_path / "no.toml"))
    assert refusal() == f"NANOFLEET_CONFIG {tmp_path / 'no.toml'}: there is no such file"


@pytest.mark.parametrize(
    ("setting", "value", "rest"),
    [
        ("broker", "htp://x", "htp://x: write mqtt://HOST, "),
        ("password_file", "/no/file", "name the user as well: mqtt://USER@localhost"),
        ("key_file", "/no/key", "/no/key: name the certificate as well, with --cert-file"),
        ("wait", "no", "needs --no-spool: the spool keeps each frame until its answer"),
    ],
)
def test_so_does_a_value_that_is_found_to_be_bad_later(
    setting: str, value: str, rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "fleet.toml"
    broker = 'broker = "mqtts://localhost"\n' if setting == "key_file" else ""
    config.write_text(f"{broker}[publish]\n{setting} = '{value}'\n")
    by_file = nanofleet("publish", __file__, "--config", str(config))
    assert by_file.returncode == 2
    assert f"nanofleet publish: {setting} in [publish] of {config}: {rest}" in by_file.stderr
    monkeypatch.setenv(f"NANOFLEET_{setting.upper()}", value)
    if broker:
        monkeypatch.setenv("NANOFLEET_BROKER", "mqtts://localhost")
    by_variable = nanofleet("publish", __file__)
    assert by_variable.returncode == 2
    assert f"nanofleet publish: NANOFLEET_{setting.upper()}: {rest}" in by_variable.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal("--config", str(tmp_path / "no.toml")).endswith("there is no such file")


def test_a_file_in_a_folder_that_may_not_be_entered(tmp_path: Path) -> None:
    config = tmp_path / "closed" / "fleet.toml"
    with closed(config.parent):
        assert refusal("--config", str(config)) == f"--config {config}: Permission denied"


@pytest.mark.parametrize("flag", ["--max-bat=2", "--bogus", "--password=x"])
def test_an_unknown_flag_is_an_error(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(flag)
    assert caught.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_help_names_each_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Settings of every kind." in text
    for expected in (
        "--max-batch N Loaves at once, 100% of them (default: 8)",
        "--heat X How hot (default: 1.5)",
        "--mode gas|wood What burns (default: gas)",
        "--tray TEXT Trays in turn",
        "--fan, --no-fan Whether the fan runs (default: yes)",
        "--log-file PATH Where to write",
        "--config PATH",
        "NANOFLEET_MAX_BATCH",
    ):
        assert expected in text


@pytest.mark.parametrize("command", ["worker", "publish", "classify", "demo"])
def test_help_of_every_command(command: str) -> None:
    shown = nanofleet(command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--config PATH" in shown.stdout
    assert not re.search(r"PydanticUndefined|<class|default_factory", shown.stdout)


def test_the_default_in_help_is_the_one_that_holds_here() -> None:
    """Here stdout is no terminal, so publish does not wait."""
    shown = " ".join(nanofleet("publish", "--help").stdout.split())
    assert "this is the default (default: no)" in shown


def with_environment(monkeypatch: pytest.MonkeyPatch, variables: Dict[str, str]) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    run = nanofleet("publish", __file__)
    assert run.returncode == 2, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


def test_an_unknown_variable_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    text = with_environment(monkeypatch, {"NANOFLEET_BROCKER": "mqtt://localhost"})
    assert "NANOFLEET_BROCKER: there is no such setting; did you mean NANOFLEET_BROKER?" in text


def test_what_to_publish_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NANOFLEET_SOURCES: there is no such setting" in with_environment(
        monkeypatch, {"NANOFLEET_SOURCES": "a.jpg"}
    )


def test_the_password_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "correct-horse"
    monkeypatch.setenv("NANOFLEET_PASSWORD", secret)
    secret_file = tmp_path / "password"
    secret_file.write_text(secret)
    shown = nanofleet("publish", "--help")
    assert shown.returncode == 0
    assert secret not in shown.stdout
    assert "--password " not in shown.stdout
    settings = PublishSettings.from_command_line(
        "publish", ["x.jpg", "--broker", "mqtt://u@h", "--password-file", str(secret_file)]
    )
    broker = settings.open_broker()
    assert broker.credentials.password() == secret
    assert secret not in f"{settings!r} {settings} {broker!r} {broker}"
    assert secret not in with_environment(monkeypatch, {"NANOFLEET_WINDOW": "0"})
