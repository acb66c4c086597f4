"""Group files: groups of labels, for where a model's own labels are too fine.

cat = ["tabby", "Persian cat"]
"other animal" = ["tench", "goldfish"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Tuple

from wire.cameras import apart
from wire.errors import SettingsError
from wire.toml import tomllib

#: The groups of the package, by the name that settings call them.
PACKAGED = {"home": Path(__file__).with_name("home.toml")}
#: What belongs to no group.
UNGROUPED = -1

Groups = Mapping[str, Tuple[str, ...]]


def read_groups(path: Path) -> Dict[str, Tuple[str, ...]]:
    """The groups in a file, in its order, each with its labels.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or holds something else than groups of labels.
    """
    try:
        return parse_groups(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise SettingsError(f"group file {path}: {error.strerror or error}") from error
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError as well
        raise SettingsError(f"group file {path}: {error}") from error


def parse_groups(content: Mapping[str, Any]) -> Dict[str, Tuple[str, ...]]:
    """Groups as they stand in a file or a message.

    Raises:
        ValueError: there is none, one is no list of labels, or a label stands in two of them.
    """
    if not content:
        raise ValueError('it names no group; write cat = ["tabby", "Persian cat"]')
    for group, labels in content.items():
        if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f'{group!r} is no list of labels; write {group} = ["one", "another"]')
    return apart({group: tuple(labels) for group, labels in content.items()})


def assign(groups: Groups, classes: Iterable[str]) -> List[int]:
    """For each class the position of its group, or UNGROUPED.

    A class that is called as a group belongs to it: a model that says `cat` needs no list of cats.
    """
    position = {group: at for at, group in enumerate(groups)}
    for at, labels in enumerate(groups.values()):
        position.update(dict.fromkeys(labels, at))
    return [position.get(name, UNGROUPED) for name in classes]


def missing(groups: Groups, classes: Iterable[str]) -> List[str]:
    """The labels that groups name and a model does not have, in the groups' order."""
    known = set(classes)
    return [label for labels in groups.values() for label in labels if label not in known]
