from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("kept", [False, True])
def test_memory_is_kept_from_other_processes_of_the_user(kept: bool) -> None:
    """The kernel gives what is in /proc of a process to root, once only root may look at its memory."""
    script = f"""
        import ctypes, os
        from wire.private import keep_memory_private
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user had the same effect
        if {kept}:
            keep_memory_private()
        print("ready", flush=True)
        input()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        owner = Path(f"/proc/{process.pid}/mem").stat().st_uid
        process.kill()
    assert owner == (0 if kept else (os.geteuid() or 65534))
