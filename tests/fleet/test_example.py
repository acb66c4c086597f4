"""`nanofleet settings`: the file that it prints is good, and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict

import pytest

from fleet.cli import layout
from fleet.commands import COMMANDS
from fleet.commands.example import example
from tests.harness import nanofleet
from wire.flags import is_positional

#: What a command cannot do without, which only its line can say.
LINES = {
    "publish": ["cat.jpg"],
    "classify": ["cat.jpg"],
    "workers forget": ["nano-1"],
    "cameras show": ["door"],
    "cameras set": ["door", "name=Door"],
    "cameras remove": ["door"],
    "models show": ["resnet50"],
    "models download": ["resnet50"],
    "models export": ["resnet50", "resnet50.onnx"],
    "models use": ["resnet50"],
    "provision": ["fleet"],
    "settings": ["worker"],
    "completion": ["bash"],
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in COMMANDS.values():
        for variable in command.settings.variables():
            monkeypatch.delenv(variable, raising=False)


def settings(name: str, *flags: str) -> Dict[str, Any]:
    read = COMMANDS[name].settings.from_command_line(name, [*LINES.get(name, []), *flags], layout())
    return {key: getattr(read, key) for key in type(read).model_fields if key != "config"}


@pytest.mark.parametrize("name", COMMANDS)
def test_uncommented_it_holds_the_defaults(name: str, tmp_path: Path) -> None:
    text = example(name, COMMANDS[name].settings)
    fields = COMMANDS[name].settings.model_fields
    uncommented = re.sub(r"(?m)^#(?=\w)", "", text)
    for form in (text, uncommented):
        (tmp_path / "example.toml").write_text(form, encoding="utf-8")
        assert settings(name, "--config", str(tmp_path / "example.toml")) == settings(name)
    for key, field in fields.items():
        if key != "config" and not is_positional(field):
            assert re.search(rf"(?m)^(#|# ){key}( = | is not set)", text), key
            assert " ".join((field.description or "").split()) in " ".join(text.replace("\n#", " ").split())
    given = [
        key for key, field in fields.items() if field.default_factory is None and field.default is not None
    ]
    plain = {key for key in given if not is_positional(fields[key])}
    assert set(re.findall(r"(?m)^(\w+) = ", uncommented)) == plain


def test_all_commands_share_one_file(tmp_path: Path) -> None:
    """The examples of all, one after the other, with what is shared once."""
    path = tmp_path / "fleet.toml"
    uncommented = [re.sub(r"(?m)^#(?=\w)", "", example(name, COMMANDS[name].settings)) for name in COMMANDS]
    top = uncommented[list(COMMANDS).index("worker")].partition("\n[")[0]
    path.write_text("\n".join([top, *(f"[{text.partition(chr(10) + '[')[2]}" for text in uncommented)]))
    for name in COMMANDS:
        assert settings(name, "--config", str(path)) == settings(name)


def test_by_the_command() -> None:
    run = nanofleet("settings", "models", "use")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("# Settings of `nanofleet models use`, ")
    shared, _, own = run.stdout.partition("\n[models.use]\n")
    assert "\n#canary = 0\n" in own
    assert '\n#broker = "mqtt://localhost"\n' in shared
