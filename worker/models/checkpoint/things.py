"""The things that a pickle names, of which none has been imported or called; and what they hold.

Global         would be imported: `torch.FloatStorage`
Persistent     lies outside of the pickle: the numbers of a tensor
Thing          would be made, by calling something: an OrderedDict, a tensor, a whole module
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

#: Objects that are looked at, at most.
LARGEST_WALK = 1_000_000
#: How deep what is looked for may lie.
_DEEPEST = 16


class Malformed(ValueError):
    """The bytes are no pickle, a damaged one, or one beyond the limits."""


class Global:
    """Something that the pickle would import, by its name: `torch.FloatStorage`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Persistent:
    """Something outside the pickle, such as the numbers of a tensor, by the identity that it was given."""

    __slots__ = ("identity",)

    def __init__(self, identity: Any) -> None:
        self.identity = identity


class Thing:
    """An object that the pickle would make: by calling what, with what, and what it would then be given."""

    __slots__ = ("arguments", "elements", "items", "maker", "state")

    def __init__(self, maker: Any, arguments: Any) -> None:
        self.maker = maker
        self.arguments = arguments
        self.state: Any = None
        self.items: Optional[Dict[Any, Any]] = None
        self.elements: Optional[List[Any]] = None

    @property
    def name(self) -> str:
        """The name of what would be called: `collections.OrderedDict`; empty if that is no import."""
        maker = self.maker
        reconstructed = isinstance(maker, Global) and maker.name in (
            "copyreg._reconstructor",
            "copy_reg._reconstructor",
        )
        if reconstructed and isinstance(self.arguments, tuple) and self.arguments:
            maker = self.arguments[0]
        return maker.name if isinstance(maker, Global) else ""


def attributes(thing: Thing) -> Dict[Any, Any]:
    """The attributes that an object would have been given."""
    states = thing.state if isinstance(thing.state, tuple) else (thing.state,)
    found: Dict[Any, Any] = {}
    for state in states:  # __dict__, and __slots__ beside it
        if isinstance(state, dict):
            found.update(state)
    return found


def items(value: Any) -> Dict[Any, Any]:
    """The contents of a value by name or index: of a dict of any class, of an object, of a short list."""
    if isinstance(value, dict):
        return value
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value)) if len(value) <= 64 else {}
    if not isinstance(value, Thing):
        return {}
    found = attributes(value)
    # OrderedDict(pairs), as Python 2 pickles it.
    if value.name == "collections.OrderedDict" and isinstance(value.arguments, tuple) and value.arguments:
        pairs = value.arguments[0]
        if isinstance(pairs, list):
            found.update(
                (pair[0], pair[1])
                for pair in pairs
                if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
            )
    if value.items:
        found.update(value.items)
    return found


class Node(NamedTuple):
    """A place in a checkpoint: the keys that lead there, and what is there."""

    path: Tuple[str, ...]
    value: Any


def walk(root: Any) -> Iterator[Node]:
    """Everything in a checkpoint that holds something else, each once, the outermost first."""
    seen: set[int] = set()
    pending: List[Node] = [Node((), root)]
    for node in pending:  # it grows meanwhile
        if id(node.value) in seen:
            continue
        seen.add(id(node.value))
        yield node
        if len(node.path) >= _DEEPEST or len(pending) > LARGEST_WALK:
            continue
        for key, value in items(node.value).items():
            if isinstance(value, (dict, list, tuple, Thing)) and isinstance(key, (str, int)):
                pending.append(Node((*node.path, str(key)), value))
