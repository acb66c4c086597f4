"""Small boxes get wheels for all that pip installs there: none has the memory to build from source.

Asked for another machine's packages, pip still heeds the requirements that are meant for the one it runs on;
uv heeds the other's. It asks the package index, as installing does.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, NamedTuple, Tuple
from urllib.parse import unquote

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from tests.harness import need

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
#: C libraries that uv knows, by the last part of their version. Of others the next one is asked for.
KNOWN = (28, 31, 35, 36, 40)


class System(NamedTuple):
    """An aarch64 system: its Python, and the last part of its C library's version."""

    python: Tuple[int, int]
    glibc: int

    @property
    def tags(self) -> FrozenSet[Tag]:
        """What a wheel must be made for, to be installed."""
        platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(17, self.glibc + 1)]
        platforms += ["manylinux2014_aarch64", "linux_aarch64"]
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        specific = cpython_tags(self.python, platforms=platforms)
        return frozenset([*specific, *compatible_tags(self.python, interpreter, platforms)])


SYSTEMS = {
    "JetPack 4, Python 3.8": System((3, 8), 27),
    "JetPack 5, and the Nano's image": System((3, 8), 31),
    "JetPack 6": System((3, 10), 35),
    "Raspberry Pi OS 12": System((3, 11), 36),
    "Raspberry Pi OS 13": System((3, 13), 40),
    "the newest Python": System((3, 14), 40),
}
#: They die of an illegal instruction; the last is 3 GB, for CUDA.
UNFIT = ["onnxruntime==1.21.0", "torch==2.4.0", "torch==2.6.0", "torch==2.10.0", "torch==2.11.0"]


def resolve(folder: Path, system: System, extras: str, *constraints: str) -> subprocess.CompletedProcess[str]:
    """What pip would install there, as a lock file on stdout."""
    beside = Path(sys.executable).with_name("uv")
    (folder / "constraints.txt").write_text("\n".join(constraints))
    glibc = next(known for known in KNOWN if known >= system.glibc)
    uv = str(beside) if beside.exists() else need("uv", "pip install uv")
    command = [uv, "pip", "compile", "pyproject.toml", "--quiet"]
    command += ["--python", sys.executable, "--no-python-downloads", "--cache-dir", str(folder / "cache")]
    command += ["--python-version", "{}.{}".format(*system.python), "--only-binary", ":all:"]
    command += ["--python-platform", f"aarch64-manylinux_2_{glibc}", "--format", "pylock.toml"]
    command += ["--constraints", str(folder / "constraints.txt")]
    command += [f"--extra={extra}" for extra in extras.split(",")]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For uv's cache."""
    return tmp_path_factory.mktemp("uv")


def wheels(package: Dict[str, Any]) -> List[str]:
    return [unquote(wheel["url"].rpartition("/")[2]) for wheel in package.get("wheels", [])]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("extras", ["onnx,provision,camera", "onnx,system-torch", "worker"])
def test_all_that_is_installed_comes_as_wheels(folder: Path, name: str, extras: str) -> None:
    system = SYSTEMS[name]
    resolved = resolve(folder, system, extras)
    assert resolved.returncode == 0, resolved.stderr
    packages = tomllib.loads(resolved.stdout)["packages"]
    missing = [
        package["name"]
        for package in packages
        if not any(system.tags & parse_wheel_filename(wheel)[3] for wheel in wheels(package))
    ]
    assert not missing
    names = {package["name"] for package in packages}
    assert not [name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))], "gigabytes"
    assert ("torch" in names) == (extras == "worker")
    assert "openvino" not in names, "190 MB, which nobody has seen make anything faster there"
    exports = extras != "onnx,provision,camera" and system.python >= (3, 9)
    assert ("onnxscript" in names) == exports, "beside every PyTorch, whoever has brought it"
    assert {"onnxruntime", "pillow", "paho-mqtt"} <= names


@pytest.mark.parametrize("release", UNFIT)
def test_what_does_not_fit_a_small_box_is_not_installed_there(folder: Path, release: str) -> None:
    resolved = resolve(folder, SYSTEMS["Raspberry Pi OS 12"], "worker", release)
    assert resolved.returncode == 1
    assert re.search(rf"nanofleet\S* depends on one of:\s+{release.split('==')[0]}", resolved.stderr)
