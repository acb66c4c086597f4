"""What the tests of exports share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.worker.engines.exports import choice_in
from worker.engines.exports.cache import exported


@pytest.fixture(scope="session")
def made(weights_dir: Path) -> Path:
    """A weights folder with a small network's checkpoint, and its export; made once for all processes."""
    import torch  # here, because most tests of this folder do without
    import torchvision.models as zoo

    folder = weights_dir.with_name("made")
    folder.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "mine.pth").exists():
            torch.manual_seed(0)
            torch.save(zoo.squeezenet1_1(weights=None, num_classes=3).state_dict(), folder / "mine.pth")
        exported(choice_in(folder), folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as one likes."""
    return Path(shutil.copytree(made, tmp_path / "weights"))
