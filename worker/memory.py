"""How much memory this process may use: the machine's, and no more than its control groups let it.

/proc/meminfo, /proc/self/cgroup ── each group from this process's own to the root ──> total(), free()

A container is a control group, and so is a systemd service (`MemoryMax=`).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional

#: Where control groups are mounted, what says in which of them this process is, and what the machine has.
GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
MACHINE = Path("/proc/meminfo")


class _Group(NamedTuple):
    """Bytes that the processes of a control group may use together, and what of it they can still have."""

    limit: int
    free: int


def total() -> int:
    """Bytes of memory that this machine has, or that this container may use."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(group.limit for group in _groups())])


def free() -> Optional[int]:
    """Bytes of memory and swap that can be had before the kernel ends a process; None where nobody knows."""
    try:
        machine = _numbers(MACHINE)
        available = (machine["MemAvailable:"] + machine["SwapFree:"]) << 10
    except (OSError, KeyError):  # no Linux, or one of before 2014
        return None
    return min([available, *(group.free for group in _groups(machine["SwapFree:"] << 10))])


def _groups(swap: int = 0) -> Iterator[_Group]:
    """The groups with a limit that this process is in. What is swapped out does not count in v2."""
    for folder in _folders(GROUPS, ""):
        with contextlib.suppress(OSError, ValueError):  # the root, or "max"
            limit = int((folder / "memory.max").read_text(encoding="ascii"))
            cached = _numbers(folder / "memory.stat")
            used = int((folder / "memory.current").read_text(encoding="ascii"))
            used -= cached.get("inactive_file", 0) + cached.get("active_file", 0)
            yield _Group(limit, max(0, limit - used) + _swap(folder, swap))


def _swap(folder: Path, free: int) -> int:
    """Bytes of the machine's free swap that a group can have."""
    try:
        most = int((folder / "memory.swap.max").read_text(encoding="ascii"))
        return max(0, min(free, most - int((folder / "memory.swap.current").read_text(encoding="ascii"))))
    except (OSError, ValueError):  # a kernel that counts no swap, or "max"
        return free


def _folders(mount: Path, controller: str) -> Iterator[Path]:
    """The folder of this process's group below a mount, and all above it: each of them may have a limit.

    Args:
        mount: where the controller's groups are mounted.
        controller: `memory` in v1; empty in v2, which has one tree for all.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                own = mount / path.lstrip("/")
                yield own
                # A container may know its path on the host, and see only itself: at the root.
                yield from (above for above in own.parents if above == mount or mount in above.parents)


def _numbers(path: Path) -> Dict[str, int]:
    """A file of lines with a name and a number each."""
    words = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {word[0]: int(word[1]) for word in words}
