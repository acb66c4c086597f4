"""As much of YAML as class names come in: a list, and the `names:` of an Ultralytics data.yaml. No more."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple, Union

from labels.values import KEYS, names_in, number

_KEY = re.compile(r"([A-Za-z_]\w*):(?:\s+(.*))?$")
_PAIR = re.compile(r"""(\d+|"[^"]*"|'[^']*'|[^:"'\[\]{}]+?)\s*:\s+(.+)$""")
_COMMENT = re.compile(r"\s+#.*$")


def names_in_yaml(lines: List[str]) -> Optional[Tuple[str, ...]]:
    """The class names of a YAML file, or None if it does not look like one that holds some.

    Args:
        lines: with their indentation, without blank ones and comments.

    Raises:
        ValueError: it does, but with more of YAML than is understood here.
    """
    lines = [line for line in lines if line not in ("---", "...")]
    if lines and all(re.match(r"\s*- \S", line) for line in lines):
        return names_in(_list([line.strip() for line in lines]))
    for place, line in enumerate(lines):
        key = _KEY.match(line)
        if key and key.group(1).lower() in KEYS:
            inside = key.group(2) or ""
            inside = "" if inside.startswith("#") else _COMMENT.sub("", inside).strip()
            if inside and inside[0] not in "[{":
                continue
            names = _inline(inside, lines[place + 1 :]) if inside else _block(lines[place + 1 :])
            found = names_in(names)
            _check_count(lines, found)
            return found
    return None


def _check_count(lines: List[str], names: Tuple[str, ...]) -> None:
    for line in lines:
        key = _KEY.match(line)
        count = number(_COMMENT.sub("", key.group(2) or "")) if key and key.group(1) == "nc" else None
        if count is not None and count != len(names):
            raise ValueError(f"nc is {count}, but there are {len(names)} names")


def _block(lines: List[str]) -> Union[List[Any], Dict[Any, Any]]:
    """The list or the table that is indented below a key."""
    entries: List[str] = []
    for line in lines:
        if not line.startswith((" ", "\t", "-")):
            break
        entries.append(line)
    depths = {len(line) - len(line.lstrip()) for line in entries}
    if not entries or len(depths) != 1:
        raise ValueError("YAML that is nested otherwise than a list of names, or a table of index and name")
    entries = [line.strip() for line in entries]
    if all(entry.startswith("- ") for entry in entries):
        return _list(entries)
    return _table(entries)


def _list(entries: List[str]) -> List[Any]:
    tables = [entry for entry in entries if _PAIR.match(entry[2:])]
    if len(tables) == len(entries):  # - 0: cat
        raise ValueError(f"YAML that is not understood here: {entries[0][:60]!r}")
    return [_scalar(entry[2:]) for entry in entries]


def _table(entries: List[str]) -> Dict[Any, Any]:
    found: Dict[Any, Any] = {}
    for entry in entries:
        pair = _PAIR.match(entry)
        if not pair:
            raise ValueError(f"YAML that is not understood here: {entry[:60]!r}")
        key = _scalar(pair.group(1))
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        found[key] = _scalar(pair.group(2))
    return found


def _inline(text: str, following: List[str]) -> Union[List[Any], Dict[Any, Any]]:
    """[cat, dog] or {0: cat, 1: dog}, over one line or several."""
    last = {"[": "]", "{": "}"}[text[0]]
    for line in following:
        if text.endswith(last):
            break
        text += " " + _COMMENT.sub("", line).strip()
    if not text.endswith(last):
        raise ValueError(f"YAML whose {text[0]} is not closed")
    parts = _parts(text[1:-1])
    if any(part[0] in "[{" for part in parts):
        raise ValueError("YAML that is nested otherwise than a list of names, or a table of index and name")
    return [_scalar(part) for part in parts] if last == "]" else _table(parts)


def _parts(text: str) -> List[str]:
    """What stands between commas outside of quotes; a quote within a word, as in it's, is none."""
    parts, quote = [""], ""
    for character in text:
        if character == "," and not quote:
            parts.append("")
            continue
        if character == quote:
            quote = ""
        elif not quote and character in "\"'" and parts[-1].rstrip()[-1:] in ("", ":"):
            quote = character
        parts[-1] += character
    if quote:
        raise ValueError(f"YAML whose {quote} is not closed: {parts[-1][:60]!r}")
    return [part.strip() for part in parts if part.strip()]


def _scalar(text: str) -> str:
    text = text.strip()
    for quote in "\"'":
        if text.startswith(quote):
            inside, end, rest = text[1:].rpartition(quote)
            if (
                not end
                or quote in inside
                or "\\" in inside
                or (rest.strip() and not rest.strip().startswith("#"))
            ):
                raise ValueError(f"YAML that is not understood here: {text[:60]!r}")
            return inside
    if text[:1] in ("&", "*", "!", "|", ">", "%", "@", "`", "[", "{"):
        raise ValueError(f"YAML that is not understood here: {text[:60]!r}")
    return _COMMENT.sub("", text).strip()
