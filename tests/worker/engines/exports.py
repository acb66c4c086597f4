"""A weights folder with an export in it, and processes that make another."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Iterator, List

import pytest

from tests.harness import processes_of
from wire.model_choice import ModelChoice

ROOT = Path(__file__).resolve().parents[3]


def choice_in(folder: Path, **fields: object) -> ModelChoice:
    model = f"squeezenet1_1@{folder / 'mine.pth'}"
    return ModelChoice(**{"model": model, "crop": 64, "resize": 72, **fields})


def labels_in(folder: Path) -> Path:
    """Names for its classes."""
    path = folder.parent / "three.txt"
    path.write_text("red\ngreen\nblue\n", encoding="utf-8")
    return path


def entries(folder: Path) -> List[str]:
    """Exports, and what should not be left beside them."""
    names = (path.name for path in (folder / "nanofleet").iterdir())
    return sorted(name for name in names if not name.endswith(".lock"))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Without the right to write; for root, who may write anyway, mounted read-only."""
    if os.geteuid() != 0:
        (folder / "nanofleet").chmod(0o555)
        yield
        (folder / "nanofleet").chmod(0o755)
        return
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "--bind", "-o", "ro", str(folder), str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def start_exporting(folder: Path) -> subprocess.Popen[str]:
    script = """
        import logging, sys
        from pathlib import Path
        from wire.model_choice import ModelChoice
        from worker.engines.exports.cache import exported

        logging.basicConfig(level="INFO")
        exported(ModelChoice.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), choice_in(folder).model_dump_json()]
    return subprocess.Popen([*command, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def exporters(folder: Path) -> List[int]:
    """The processes that export below a folder."""
    return processes_of("worker.engines.exports.process", folder)


def start_classifying(folder: Path) -> subprocess.Popen[str]:
    """In a process group of its own, as a shell starts it."""
    shutil.rmtree(folder / "nanofleet")
    flags = ["--model", f"squeezenet1_1@{folder / 'mine.pth'}", "--weights-dir", str(folder)]
    command = [sys.executable, "-m", "fleet", "classify", str(folder / "cat.jpg"), *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
