"""nanofleet talks to its broker and to nobody else, and writes nowhere but where it says."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.harness import MODEL, need
from tests.worker.engines.libraries import needs_openvino

_CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
#: Where a call goes: the loopback's addresses are ours.
_ADDRESS = re.compile(r"sin_port=htons\((\d+)\), sin_addr=inet_addr\(\"([^\"]+)\"\)")
_ADDRESS_6 = re.compile(r"sin6_port=htons\((\d+)\).*inet_pton\(AF_INET6, \"([^\"]+)\"")


def traced(folder: Path, *command: str) -> List[str]:
    """Run a nanofleet command in a home of its own; the addresses that any of its processes has called."""
    home, temporary, trace = folder / "home", folder / "tmp", folder / "trace"
    home.mkdir()
    temporary.mkdir()
    # onnxruntime keeps quiet by itself where it sees a CI: a user has none.
    quiet = {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TORCH_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment.update(HOME=str(home), TMPDIR=str(temporary))
    strace = [need("strace"), "-f", "--seccomp-bpf", "-e", _CALLS, "-o", str(trace)]
    nanofleet = [sys.executable, "-m", "fleet", *command]
    done = subprocess.run(
        [*strace, *nanofleet], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    text = trace.read_text(errors="replace")
    return [f"{host}:{port}" for found in (_ADDRESS, _ADDRESS_6) for port, host in found.findall(text)]


@pytest.mark.skipif(sys.version_info < (3, 9), reason="iotcore has no wheel for Python 3.8")
def test_a_whole_fleet_calls_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    called = traced(tmp_path, "demo")
    assert called, "the publisher and the worker have called their broker"
    assert {address.rpartition(":")[0] for address in called} == {"127.0.0.1"}
    assert sorted(tmp_path.glob("tmp/*")) == []
    kept = {path.relative_to(tmp_path / "home").parts[:4] for path in tmp_path.glob("home/**/*")}
    assert {parts for parts in kept if len(parts) == 4} == {(".cache", "torch", "hub", "checkpoints")}


@pytest.mark.parametrize("engine", ["onnxruntime", "torch", pytest.param("openvino", marks=needs_openvino)])
def test_classify_calls_nobody_at_all(engine: str, photos: Path, tmp_path: Path) -> None:
    called = traced(tmp_path, "classify", str(photos / "coffee.png"), "--model", MODEL, "--engine", engine)
    assert called == []
    # PyTorch makes this folder, and leaves it empty, wherever it is imported.
    assert {path.name for path in tmp_path.glob("tmp/**/*")} <= {f"torchinductor_{getpass.getuser()}"}
    found = {path.relative_to(tmp_path / "home").parts[:2] for path in tmp_path.glob("home/*/*")}
    assert found <= {(".cache", "torch")}
