"""Class names in lists and dicts, as training tools write them: in the order of the outputs, or refused."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

#: Under these, files keep class names; whatever their case.
KEYS = (
    "names",
    "classes",
    "class_names",
    "labels",
    "label_names",
    "categories",
    "id2label",
    "label2id",
    "idx_to_class",
    "class_to_idx",
    "class_indices",
)
#: Half of a character: an escape may name one, as in JSON; UTF-8 has none.
HALF = re.compile("[\ud800-\udfff]")


def names_in(value: Any) -> Tuple[str, ...]:
    """The class names in a list, or in a dict of index and name, whichever of the two is the key.

    Raises:
        ValueError: it is neither, or its indexes are not 0 to n - 1, each once; the text says which.
    """
    if isinstance(value, dict):
        return _of_dict(value)
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("neither a list of names nor a table of names and indexes")
    if all(isinstance(entry, dict) for entry in value):
        return _of_entries(value)
    return tuple(_name(entry) for entry in value)


def names_beneath(value: Dict[Any, Any]) -> Optional[Tuple[str, ...]]:
    """The class names under one of the usual keys of a dict; None if it has no such key.

    Raises:
        ValueError: what is there names no classes, or two of them name others.
    """
    found = {
        str(key): names_in(held)
        for key, held in value.items()
        if str(key).lower() in KEYS and isinstance(held, (list, tuple, dict))
    }
    if len(set(found.values())) > 1:
        raise ValueError(f"{' and '.join(found)} name other classes")
    return next(iter(found.values()), None)


def ordered(pairs: List[Tuple[int, str]]) -> Tuple[str, ...]:
    """Names by their indexes.

    Raises:
        ValueError: the indexes are not 0 to n - 1, each once; the text says which is not.
    """
    by_index: Dict[int, str] = {}
    for index, name in pairs:
        if index in by_index and by_index[index] != name:
            raise ValueError(f"index {index} is both {by_index[index]!r} and {name!r}")
        if index in by_index:
            raise ValueError(f"index {index} ({name!r}) is there twice")
        by_index[index] = name
    indexes = sorted(by_index)
    if indexes == list(range(1, len(pairs) + 1)):
        raise ValueError(
            f"the indexes go from 1 ({by_index[1]!r}) to {len(pairs)}, but outputs count from 0: "
            "count the classes from 0, or leave the indexes out"
        )
    if indexes[0] < 0 or indexes[0] > len(pairs):
        raise ValueError(f"there are {len(pairs)} names, and {by_index[indexes[0]]!r} has index {indexes[0]}")
    for expected, index in enumerate(indexes):
        if index != expected:
            raise ValueError(f"index {expected} is missing: {by_index[index]!r}, with {index}, comes next")
    return tuple(by_index[index] for index in indexes)


def number(value: Any) -> Optional[int]:
    """A whole number, or the text of one; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    # `1.0` is what pandas makes of a column of whole numbers with a gap.
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(\.0+)?\s*", value, re.ASCII):
        return int(value.partition(".")[0])
    return None


def _of_dict(value: Dict[Any, Any]) -> Tuple[str, ...]:
    if not value:
        raise ValueError("it names no class")
    keys, values = [number(key) for key in value], [number(held) for held in value.values()]
    by_key = by_value = None
    if None not in keys:
        by_key = [(key, _name(_last(held))) for key, held in zip(keys, value.values()) if key is not None]
    if None not in values:
        by_value = [(held, _name(key)) for held, key in zip(values, value) if held is not None]
    if by_key and by_value:  # the names are numbers as well
        complete = [pairs for pairs in (by_key, by_value) if _complete(pairs)]
        if len(complete) == 2 and ordered(by_key) != ordered(by_value):
            raise ValueError("it is a table of numbers and numbers, and nothing tells which are the names")
        return ordered(complete[0] if complete else by_key)
    pairs = by_key or by_value
    if not pairs:
        raise ValueError("neither its keys nor its values are all indexes")
    return ordered(pairs)


def _complete(pairs: List[Tuple[int, str]]) -> bool:
    return sorted(index for index, _ in pairs) == list(range(len(pairs)))


def _last(value: Any) -> Any:
    """The name in ["n01440764", "tench"], as Keras has it for ImageNet."""
    return value[-1] if isinstance(value, (list, tuple)) and len(value) == 2 else value


def _of_entries(entries: Any) -> Tuple[str, ...]:
    """Of [{"id": 0, "name": "cat"}], as COCO has it."""
    pairs, names = [], []
    for entry in entries:
        name = next((entry[key] for key in ("name", "label", "class") if key in entry), None)
        index = next((number(entry[key]) for key in ("id", "index", "idx") if key in entry), None)
        names.append(_name(name))
        if index is not None:
            pairs.append((index, names[-1]))
    if pairs and len(pairs) != len(names):
        raise ValueError("some of its entries have an index, and some do not")
    return ordered(pairs) if pairs else tuple(names)


def _name(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not str(value).strip():
        raise ValueError(f"{str(value)[:40]!r} is no name of a class")
    name = str(value).strip()
    if HALF.search(name):
        raise ValueError(f"{name[:40]!r} has half of a character, a surrogate, which no answer can hold")
    return name
