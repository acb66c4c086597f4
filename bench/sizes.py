"""Bytes on disk of what `pip install '.[EXTRA]'` brings, as it is installed here."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Dict, List, Set, Tuple

from packaging.requirements import Requirement


def installed_bytes(extra: str) -> int:
    """Bytes of nanofleet, of the extra's packages, and of all that these need.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    seen: Dict[str, Set[str]] = {}
    waiting: List[Tuple[str, Set[str]]] = [("nanofleet", {extra})]
    while waiting:
        name, extras = waiting.pop()
        if name in seen and extras <= seen[name]:
            continue
        seen[name] = seen.get(name, set()) | extras
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in ("", *seen[name])):
                waiting.append((requirement.name.lower(), set(requirement.extras)))
    return sum(map(_bytes, seen))


def _bytes(package: str) -> int:
    paths = [Path(str(path.locate())) for path in importlib.metadata.files(package) or []]
    return sum(path.stat().st_size for path in paths if path.is_file())
