"""Imports point one way: fleet -> worker, publisher -> wire. A camera needs nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
OURS = {"wire", "publisher", "worker", "fleet", "labels"}
MAY_IMPORT = {
    "wire": {"wire"},
    "publisher": {"publisher", "wire"},
    "labels": {"labels", "wire"},
    "worker": {"worker", "labels", "wire"},
    "fleet": OURS,
}


def imported(package: str, *, without: str = "") -> Iterator[str]:
    for path in (REPOSITORY / package).rglob("*.py"):
        if without and without in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_what_is_below_them(package: str) -> None:
    found = set(imported(package))
    assert found, package
    assert found & OURS <= MAY_IMPORT[package]


def test_the_contract_and_the_publisher_are_light() -> None:
    heavy = {"torch", "torchvision", "numpy", "prometheus_client", "onnxruntime", "iotcore"}
    assert not set(imported("wire")) & (heavy | {"rich"})
    assert "PIL" not in set(imported("wire", without="picture")), "only what decodes pictures needs Pillow"
    # Decoder processes start again for hostile frames: they must not wait for what they don't need.
    assert not set(imported("wire/picture")) & (heavy | {"pydantic", "paho", "typing_extensions"})
    assert not set(imported("publisher")) & heavy


def test_publisher_imports_with_torch_numpy_and_pillow_blocked() -> None:
    blocked = ["torch", "torchvision", "numpy", "PIL", "prometheus_client", "iotcore", "worker"]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import publisher.publish"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
