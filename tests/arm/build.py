"""Builds an aarch64 system with nanofleet's `[onnx]` in it, below a folder.

    python -m tests.arm.build FOLDER

    FOLDER/root     Debian's packages, kept for the next time; this tree's nanofleet, installed each time

Nothing is emulated meanwhile: packages are unpacked and not configured, and wheels are chosen for aarch64 by
uv, which unlike pip also reads the requirements' markers as a machine of that kind would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

#: The release and its Python.
SUITE, PYTHON = "bookworm", "3.11"
#: What a slim image lacks besides Python: ONNX Runtime needs the first; the second has the kernel's numbers.
PACKAGES = ("python3", "libstdc++6", "linux-libc-dev")
#: By program: Debian's package.
TOOLS: Dict[str, str] = {
    "mmdebstrap": "mmdebstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "unshare": "util-linux",
    "mosquitto": "mosquitto",
}
_TREE = Path(__file__).resolve().parents[2]


def main(folder: Path) -> None:
    """Build the system, or what of it is not there yet."""
    if os.geteuid() != 0:
        sys.exit("make arm unpacks a system and changes its root to it: run it as root (sudo make arm)")
    missing = [package for program, package in TOOLS.items() if not _is_there(program)]
    if missing:
        sys.exit(
            f"not installed: {', '.join(missing)}; Debian 12 has them: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    root = folder.resolve() / "root"
    if not root.exists():
        _unpack(root)
    _install(root)


def _is_there(program: str) -> bool:
    return bool(shutil.which(program) or shutil.which(program, path="/usr/sbin"))


def _unpack(root: Path) -> None:
    print(f"unpacking Debian {SUITE} for arm64 into {root}", flush=True)
    part = root.with_name("root.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    options = ["--quiet", "--arch=arm64", "--variant=extract", f"--include={','.join(PACKAGES)}"]
    subprocess.run(["mmdebstrap", *options, SUITE, str(part), *_sources()], check=True)
    part.rename(root)


def _sources() -> List[str]:
    """Where this machine's apt has the release from; empty, which is Debian's own, if it has another."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) main", "Created-By: Packages"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = sorted(set(listed.stdout.splitlines()))
    return [line for line in lines if line.split()[2].startswith(SUITE)]


def _install(root: Path) -> None:
    packages = root / f"usr/local/lib/python{PYTHON}/dist-packages"
    print(f"installing nanofleet[onnx] for aarch64 into {packages}", flush=True)
    shutil.rmtree(packages, ignore_errors=True)
    target = ["--target", str(packages), "--python-platform", "aarch64-manylinux_2_28"]
    wheels = ["--python-version", PYTHON, "--only-binary", ":all:", "--no-binary", "nanofleet"]
    command = [sys.executable, "-m", "uv", "pip", "install", *target, *wheels]
    subprocess.run([*command, "--reinstall-package", "nanofleet", f"{_TREE}[onnx]"], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
