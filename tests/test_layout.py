"""Imports point one way: from what tells a story to what it is made of, room by room."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGES = ("labels", "wire", "publisher", "worker", "fleet")
#: Of the worker: each may import those before it. Those of one line do not import each other.
FLOORS: Tuple[Set[str], ...] = (
    {"worker.control_groups", "worker.awake"},
    {
        "worker.errors",
        "worker.cores",
        "worker.memory",
        "worker.temperature",
        "worker.life",
        "worker.watchdog",
    },
    {"worker.machine"},
    {"worker.settings", "worker.payload", "worker.decode"},
    {"worker.metrics", "worker.models"},
    {"worker.metrics_server", "worker.engines", "worker.delivery"},
    {"worker.serving", "worker.camera_notes"},
    {"worker.cameras"},
    {"worker.worker"},
    {"worker.membership", "worker.answers", "worker.snapshots"},
    {"worker.pipeline"},
    {"worker.reception"},
    {"worker.session", "worker.startup"},
    {"worker.service"},
    {"worker.processes"},
)


def modules() -> Dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """A folder of a package with all that is below it, or a module that lies in no folder."""
    return ".".join(module.split(".")[:2])


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in it: for types as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES or node.module in MODULES:
                    yield name if name in MODULES else node.module


def between_rooms() -> Dict[str, Dict[str, List[str]]]:
    """Room -> room that it imports -> the modules that do."""
    found: Dict[str, Dict[str, List[str]]] = {}
    for module, path in MODULES.items():
        for imported in imports(path):
            if room_of(imported) != room_of(module):
                room = found.setdefault(room_of(module), {})
                room.setdefault(room_of(imported), []).append(f"{module} imports {imported}")
    return found


ARROWS = between_rooms()


def test_the_rooms_make_no_circle() -> None:
    def follow(room: str, way: Tuple[str, ...]) -> None:
        assert room not in way, f"{' -> '.join((*way, room))}: {ARROWS[way[-1]][room]}"
        if room not in done:
            for next_room in ARROWS.get(room, {}):
                follow(next_room, (*way, room))
            done.add(room)

    done: Set[str] = set()
    for room in ARROWS:
        follow(room, ())


def test_every_room_of_the_worker_has_its_floor() -> None:
    rooms = {room_of(module) for module in MODULES if module.startswith("worker.")}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_a_room_imports_from_the_floors_below_it(floor: int) -> None:
    below = set().union(*FLOORS[:floor])
    for room in FLOORS[floor]:
        for imported, by in ARROWS.get(room, {}).items():
            package = imported.split(".")[0]
            assert imported in below or package in {"wire", "labels"}, by


def test_nobody_below_knows_those_above() -> None:
    """`wire` stands alone, labels and cameras need no worker, and a worker knows no command."""
    allowed = {
        "wire": set(),
        "labels": {"wire"},
        "publisher": {"wire"},
        "worker": {"wire", "labels"},
        "fleet": {"wire", "labels", "publisher", "worker"},
    }
    for room, imported in ARROWS.items():
        package = room.split(".")[0]
        for other, by in imported.items():
            assert other.split(".")[0] in allowed[package] | {package}, by
