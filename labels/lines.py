"""Class names in lines: one a line, or a table of names and indexes in any of its usual forms."""

from __future__ import annotations

import csv
import re
from typing import Dict, List, Optional, Tuple

from labels.values import number, ordered

_SYNSET_FIRST = re.compile(r"n\d{8}(?:\s*[,\t]\s*|\s+)(\S.*)")
#: `0 cat`, `0: cat`, `"0": cat`, `[0] cat`, `0 -> cat`, `0 - cat`; and `cat 0`.
_INDEX_FIRST = re.compile(r"""["'(\[]?(\d{1,9})["')\]]?(?:\s*(?:[:=]|[-=]>)\s*|[.)]\s+|\s+-\s+|\s+)(\S.*)""")
_INDEX_LAST = re.compile(r"(\S.*?)(?:\s*[:=]\s*|\s+)(\d{1,9})")
_INDEXES = ("index", "idx", "id", "class_id", "class_index", "classid", "label_id", "number", "class_idx", "")
_NAMES = ("name", "class_name", "classname", "label", "label_name", "class", "category", "species")
_ADVICE = "If these numbers are parts of the names, write the names as a JSON list"


def names_in_lines(lines: List[str]) -> Tuple[str, ...]:
    """The names in some lines; where each has an index, in the indexes' order.

    An index counts as one only if every line has one: `7 up` stays a name.

    Args:
        lines: stripped, without blank ones and comments.

    Raises:
        ValueError: every line has an index, and they are not 0 to n - 1, each once.
    """
    synsets = [_SYNSET_FIRST.fullmatch(line) for line in lines]
    if all(synsets):
        return _behind_synsets(lines, [match.group(1) for match in synsets if match])
    for separator in (",", "\t", ";", "|"):
        table = _table(lines, separator)
        if table is not None:
            return table
    first, last = (_pairs(lines, pattern) for pattern in (_INDEX_FIRST, _INDEX_LAST))
    chosen = _chosen(first, [(int(index), name) for name, index in last] if last else None)
    if chosen is not None:
        return _ordered(chosen)
    return tuple(_unquoted_line(line) for line in lines) if _quoted(lines) else tuple(lines)


def _behind_synsets(lines: List[str], rest: List[str]) -> Tuple[str, ...]:
    """Of `n02119789 tench`, `n02119789 1 tench` or `n02119789 1`, the names in their order."""
    indexes = [number(text) for text in rest]
    if None not in indexes:
        return _ordered([(index, line[:9]) for index, line in zip(indexes, lines) if index is not None])
    pairs = _pairs(rest, _INDEX_FIRST)
    if pairs is not None:
        return _ordered([(int(index), _unquoted(name)) for index, name in pairs])
    return tuple(_unquoted(text) for text in rest)


def _pairs(lines: List[str], pattern: re.Pattern[str]) -> Optional[List[Tuple[str, str]]]:
    matches = [pattern.fullmatch(line) for line in lines]
    return [(match.group(1), match.group(2)) for match in matches if match] if all(matches) else None


def _chosen(
    first: Optional[List[Tuple[str, str]]], last: Optional[List[Tuple[int, str]]]
) -> Optional[List[Tuple[int, str]]]:
    """The pairs whose indexes are complete, where both ends of the lines are numbers."""
    leading = [(int(index), _unquoted(name)) for index, name in first] if first else None
    trailing = [(index, _unquoted(name)) for index, name in last] if last else None
    # `grade 0`, `grade 1`; `0 fingers`, `1 fingers`: there the number is the name.
    found = [
        pairs
        for pairs in (leading, trailing)
        if pairs and (len({name for _, name in pairs}) > 1 or len(pairs) == 1)
    ]
    complete = [pairs for pairs in found if sorted(i for i, _ in pairs) == list(range(len(pairs)))]
    if len(complete) == 2:
        raise ValueError("each line begins and ends with an index, and nothing tells which of them counts")
    if complete:
        return complete[0]
    # `area 51`: a number behind names is no index, as long as it begins with neither 0 nor 1.
    if found and found[0] is trailing and min(index for index, _ in trailing) > 1:
        return None
    return found[0] if found else None


def _ordered(pairs: List[Tuple[int, str]]) -> Tuple[str, ...]:
    try:
        return ordered(pairs)
    except ValueError as error:
        raise ValueError(f"every line has an index, but {error}. {_ADVICE}") from error


def _table(lines: List[str], separator: str) -> Optional[Tuple[str, ...]]:
    """The names of a table with an index in a column; None if it is none."""
    if not all(separator in line for line in lines):
        return None
    try:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error:
        return None
    rows = [[cell.strip() for cell in row] for row in rows]
    header = _header(rows[0])
    if header is not None and len(rows) > 1:
        index, name = header
        return _ordered([_cell(row, index, name, separator) for row in rows[1:]])
    return _without_header(rows, separator)


def _header(row: List[str]) -> Optional[Tuple[int, int]]:
    """The columns of the index and of the name, by their titles."""
    titles = [cell.lower().replace(" ", "_").replace("-", "_") for cell in row]
    indexes = [place for place, title in enumerate(titles) if title in _INDEXES]
    names = [place for place, title in enumerate(titles) if title in _NAMES]
    # `label,name`: of two titles for names, one is that of an index.
    if not indexes and len(titles) == 2 and len(names) == 2:
        return (0, 1) if titles[0] in ("label", "class") else (1, 0)
    return (indexes[0], names[0]) if indexes and names else None


def _cell(row: List[str], index: int, name: int, separator: str) -> Tuple[int, str]:
    found = number(row[index]) if len(row) > max(index, name) else None
    if found is None:
        raise ValueError(f"no index in the line {separator.join(row)[:60]!r}")
    if not row[name]:
        raise ValueError(f"no name in the line {separator.join(row)[:60]!r}")
    return found, row[name]


def _without_header(rows: List[List[str]], separator: str) -> Optional[Tuple[str, ...]]:
    glue = separator if separator != "," else ", "
    # A name with a comma in it, and without quotes around it: 0,tench, Tinca tinca.
    first = [(number(row[0]), glue.join(row[1:]).strip(glue)) for row in rows]
    last = [(number(row[-1]), glue.join(row[:-1]).strip(glue)) for row in rows]
    found: Dict[str, List[Tuple[int, str]]] = {}
    for end, pairs in (("first", first), ("last", last)):
        indexed = [(index, name) for index, name in pairs if index is not None and name]
        if len(indexed) == len(rows):
            found[end] = indexed
        # A header whose titles are unknown.
        elif len(indexed) == len(rows) - 1 > 1 and pairs[0][0] is None:
            raise ValueError(
                f"every line but the first has an index: if {glue.join(rows[0])[:60]!r} is a "
                "header, remove it"
            )
    complete = [pairs for pairs in found.values() if sorted(i for i, _ in pairs) == list(range(len(pairs)))]
    if len(complete) == 2:
        raise ValueError("each line begins and ends with an index, and nothing tells which of them counts")
    if complete:
        return ordered(complete[0])
    return _ordered(next(iter(found.values()))) if found else None


def _quoted(lines: List[str]) -> bool:
    """Whether all names are quoted, or those with a comma in them, as in a CSV of one column."""
    quoted = [re.fullmatch(r"""(["'])[^"']+\1,?""", line) for line in lines]
    plain = [line for line, match in zip(lines, quoted) if match is None]
    commas = any("," in line.rstrip(",") for line, match in zip(lines, quoted) if match)
    return not plain or (commas and not any("," in line or '"' in line for line in plain))


def _unquoted_line(line: str) -> str:
    return _unquoted(line.rstrip(","))


def _unquoted(text: str) -> str:
    for quote in "\"'":
        if len(text) > 2 and text.startswith(quote) and text.endswith(quote) and quote not in text[1:-1]:
            return text[1:-1].strip()
    return text
