"""The TOML file of --config, which all commands of a fleet may share.

    broker = "mqtt://broker.lan"    what all share: the settings by which a member finds its broker
    root = "garden"

    [worker]                        what `nanofleet worker` alone shall have; it goes before the top's
    model = "resnet50"

    [models.use]                    and `nanofleet models use`
    canary = 1

What is not shared may stand at the top of a file that only commands read which have such a setting.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from wire.errors import SettingsError, failure_of
from wire.toml import tomllib


@dataclass(frozen=True)
class Layout:
    """Which keys a file may hold.

    Attributes:
        commands: the settings of each command, by its name.
        shared: those that may stand at the top, whichever command reads the file.
    """

    commands: Mapping[str, AbstractSet[str]]
    shared: AbstractSet[str] = field(default_factory=frozenset)


class Given(NamedTuple):
    """A value, and where it stands."""

    value: Any
    origin: str


def read_config(path: Path, command: str, layout: Layout, named_by: str) -> Dict[str, Given]:
    """What a file says to one command, by setting.

    Args:
        path: the file.
        command: which command.
        layout: what the file may hold.
        named_by: the flag or variable that names the file.

    Raises:
        SettingsError: it cannot be read, or a key or section of it is none, also of another command.
        NanofleetError: it cannot be read now.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{named_by} {path}: there is no such file") from None
    except OSError as error:
        raise failure_of(f"{named_by} {path}", error) from None
    except ValueError as error:
        raise SettingsError(f"{named_by} {path}: {error}") from None
    found: Dict[str, Given] = {}
    faults: List[str] = []
    for section, table in _sections("", content):  # the top first
        if section and section not in layout.commands:
            if table:
                faults.append(f"{_bracketed(section)} in {path}: no such command{_close(section, layout)}")
            continue
        own = layout.commands[section or command]
        for key, value in table.items():
            origin = f"{key} in {_bracketed(section)} of {path}" if section else f"{key} in {path}"
            if key not in own and (section or key not in layout.shared):
                faults.append(f"{origin}: {_advice(key, section or command, layout)}")
            elif key in own and section in ("", command):
                found[key] = Given(value, origin)
    if faults:
        raise SettingsError("\n".join(faults))
    return found


def _sections(name: str, table: Mapping[str, Any]) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Each section by its command's name, without those below it."""
    yield name, {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _sections(f"{name} {key}".strip(), value)


def _bracketed(section: str) -> str:
    return f"[{section.replace(' ', '.')}]"


def _close(section: str, layout: Layout) -> str:
    close = difflib.get_close_matches(section, layout.commands, n=1)
    return f"; did you mean {_bracketed(close[0])}?" if close else ""


def _advice(key: str, command: str, layout: Layout) -> str:
    """What is meant by a key that a command does not have, and where it belongs."""
    if _owners(key, layout):
        return f"{command} has no such setting; it belongs {_place(key, layout)}"
    own = layout.commands[command]
    everybodys = {key for keys in layout.commands.values() for key in keys}
    close = difflib.get_close_matches(key, own, n=1) or difflib.get_close_matches(key, everybodys, n=1)
    if not close:
        return "there is no such setting"
    where = "" if close[0] in own else f" It belongs {_place(close[0], layout)}"
    return f"there is no such setting; did you mean {close[0]}?{where}"


def _owners(key: str, layout: Layout) -> List[str]:
    return [name for name, keys in layout.commands.items() if key in keys]


def _place(key: str, layout: Layout) -> str:
    if key in layout.shared:
        return "at the top"
    return "in " + " or ".join(map(_bracketed, _owners(key, layout)))
