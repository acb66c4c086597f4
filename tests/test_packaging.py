"""What a user installs: the wheel and the sdist, outside this repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.fleets import Fleet
from tests.harness import Listener, wait_for

REPOSITORY = Path(__file__).parent.parent
FOLDERS = {".ci", "bench", "deploy", "docs", "fleet", "labels", "publisher", "tests", "wire", "worker"}
FILES = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
}
DOTTED = {".dockerignore", ".gitignore", ".pre-commit-config.yaml"}


def run(*command: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=REPOSITORY)
    return folder


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="only a clone knows what is kept in it")
def test_the_top_level_holds_nothing_by_accident() -> None:
    kept = run("git", "ls-files", cwd=REPOSITORY).splitlines()
    assert {name.split("/")[0] for name in kept} <= FOLDERS | FILES | DOTTED


def test_wheel_and_sdist_hold_what_they_should(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert folders == {"wire", "publisher", "worker", "fleet", "labels"}
    assert "labels/imagenet-1k.txt" in names
    assert any(name.endswith("licenses/LICENSE") or name.endswith("LICENSE") for name in names)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "SECURITY.md", "LICENSE", "tests/conftest.py"} <= inside
    assert "labels/imagenet-1k.txt" in inside


def test_the_wheel_classifies_outside_the_repository(dist: Path, tmp_path: Path, photos: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    target = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel))
    environment = {**os.environ, "PYTHONPATH": str(target)}
    options: Dict[str, Any] = {"cwd": str(tmp_path), "env": environment}
    where = run(sys.executable, "-c", "import wire, labels; print(wire.__file__, labels.__file__)", **options)
    assert all(path.startswith(str(target)) for path in where.split())
    model = ["--model", "efficientnet_lite0", "--json"]
    answer = run(sys.executable, "-m", "fleet", "classify", str(photos / "coffee.png"), *model, **options)
    assert json.loads(answer)["label"] == "espresso"


def test_a_camera_needs_neither_torch_nor_numpy_nor_pillow(
    dist: Path, tmp_path: Path, photos: Path, mosquitto_url: str, root: str, fleet: Fleet
) -> None:
    """A virtual environment with the base install alone, and a frame published from it."""
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "camera", with_pip=True)
    python = str(tmp_path / "camera" / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options: Dict[str, Any] = {"cwd": str(tmp_path), "env": environment}
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel), **options)
    installed = run(python, "-m", "pip", "list", "--format=freeze", **options).lower()
    assert not {"torch", "numpy", "pillow"} & {line.split("==")[0] for line in installed.splitlines()}
    listener: Listener = fleet.listen("frames/door")
    image = str(photos / "rocket.jpg")
    command = str(tmp_path / "camera" / "bin" / "nanofleet")
    address = ["--camera", "door", "--broker", mosquitto_url, "--root", root, "--no-spool", "--no-wait"]
    assert "sent 1, taken by the broker 1" in run(command, "publish", image, *address, **options)
    wait_for(lambda: listener.messages, what="the frame")
    assert [m.payload for m in listener.messages] == [Path(image).read_bytes()]
    refused = subprocess.run(
        [command, "classify", image], capture_output=True, text=True, check=False, **options
    )
    assert refused.returncode == 2
    assert "in a clone of nanofleet's repository, pip install '.[worker]'" in refused.stderr
