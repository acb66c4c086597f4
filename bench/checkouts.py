"""Checkouts of nanofleet: the bench's own, and another one that it may run processes of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Dict

from wire.settings import child_environment

#: The checkout that the bench itself is of.
ROOT = Path(__file__).resolve().parent.parent


def of_tree(tree: Path) -> Dict[str, Any]:
    """Where a process runs whose packages are those of one checkout: directory and environment, for Popen."""
    # Variables that set the bench are not for what it measures.
    environment = child_environment()
    others = environment.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(tree), *(part for part in others if part and Path(part) != ROOT)]
    return {"cwd": tree, "env": {**environment, "PYTHONPATH": os.pathsep.join(path)}}


def commit_of(tree: Path) -> str:
    """What git calls a checkout's commit, with a mark if files have changed since; else its folder's name."""
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else tree.name
