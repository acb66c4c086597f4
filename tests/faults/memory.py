"""What the kernel says of a process's memory."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import List


def peak_bytes(pid: int) -> int:
    """The most memory that was ever resident (VmHWM); 0 for a process that is gone."""
    return _status(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    """The memory that is resident now (VmRSS); 0 for a process that is gone."""
    return _status(pid, "VmRSS")


def forget_peak(pid: int) -> None:
    """Have the peak begin anew at what is resident now [proc(5), clear_refs]."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def decoders(pid: int) -> List[int]:
    """The decoder processes of a worker; not its copy that is just about to become one."""
    found: List[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                if b"worker.decode.process" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


def _status(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else 0  # a zombie has none
    return 0
