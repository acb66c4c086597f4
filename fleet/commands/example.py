"""`nanofleet settings`: an example of a command's settings, as TOML."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import List, Type

from pydantic.fields import FieldInfo

from fleet.commands import find
from fleet.commands.settings import ExampleSettings
from wire.broker import BrokerSettings
from wire.flags import flag_of, is_positional, metavar_of
from wire.settings import ENV_PREFIX, Settings

_WIDTH = 100


def print_example(settings: ExampleSettings) -> int:
    """Print the example; returns the exit code.

    Raises:
        SettingsError: there is no such command.
    """
    name = " ".join(settings.words)
    print(example(name, find(name).settings), end="")
    return 0


def example(command: str, cls: Type[Settings]) -> str:
    """A TOML file with all settings, commented out. Uncommented (`#name` to `name`) it changes nothing."""
    fields = [(n, f) for n, f in cls.model_fields.items() if not is_positional(f) and n != "config"]
    shared = [(n, f) for n, f in fields if _is_shared(n, f)]
    own = [(n, f) for n, f in fields if not _is_shared(n, f)]
    head = _comment(
        f"Settings of `nanofleet {command}`, for its --config FILE. Lines that begin with # and a name hold "
        f"the defaults. A flag, or a variable ({ENV_PREFIX}…), goes before what this file says. All commands "
        "may share one file: what is at the top is for all, and each has a section of its own."
    )
    section = f"[{command.replace(' ', '.')}]\n"
    parts = [head, *(_setting(*each) for each in shared), section, *(_setting(*each) for each in own)]
    return "\n".join(parts)


def _is_shared(name: str, field: FieldInfo) -> bool:
    """Whether a setting is every command's, with the same default."""
    shared = BrokerSettings.model_fields.get(name)
    return shared is not None and shared.default == field.default


def _setting(name: str, field: FieldInfo) -> str:
    lines = [_comment(f"{field.description} ({flag_of(name)})")]
    if field.default_factory is not None:
        # Made on one machine, the file must not carry that machine's home to another.
        here = _toml(field.get_default(call_default_factory=True))
        lines.append(f"# {name} = {here} here, where nothing is set; it may differ elsewhere\n")
    elif field.default is None:
        lines.append(f"# {name} is not set; it takes {metavar_of(field)}\n")
    else:
        lines.append(f"#{name} = {_toml(field.default)}\n")
    return "".join(lines)


def _comment(text: str) -> str:
    return textwrap.indent(textwrap.fill(text, _WIDTH), "# ") + "\n"


def _toml(value: object) -> str:
    if isinstance(value, List):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (str, Path)):
        return json.dumps(str(value))
    return json.dumps(value)  # numbers, true and false are written alike
