"""The files of deploy/, and how they are read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[2]

DEPLOY = ROOT / "deploy"

FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in (".whl", ".png"))

CONFIGS = [DEPLOY / "mosquitto" / "mosquitto.conf", DEPLOY / "compose" / "mosquitto.conf"]

MEMORY = DEPLOY / "mosquitto" / "mosquitto.service.d" / "memory.conf"

#: Those that are built from the repository's root.
DOCKERFILES = sorted(DEPLOY.glob("*/Dockerfile"))

PAGES = [*sorted(DEPLOY.glob("*/README.md")), ROOT / "docs" / "upgrading.md"]


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def options(config: Path) -> Dict[str, str]:
    """A Mosquitto configuration's options; Mosquitto refuses one that is named twice."""
    lines = [line for line in config.read_text().splitlines() if line and not line.startswith("#")]
    found = dict(line.split(" ", 1) for line in lines)
    assert len(found) == len(lines)
    return found


def instructions(dockerfile: Path) -> List[Tuple[str, str]]:
    """A Dockerfile's instructions, each as its name and the rest."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile.read_text())
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]
