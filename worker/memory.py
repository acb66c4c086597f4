"""How much memory this process may use: the machine's, and no more than its control groups let it.

/proc/meminfo, control groups ── each from this process's own to the root ──> total(), free()
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

from worker.control_groups import folders, number

#: The machine's memory.
MACHINE = Path("/proc/meminfo")
_OF_ADDRESSES = (resource.RLIMIT_AS, resource.RLIMIT_DATA)


class _Group(NamedTuple):
    """Bytes that the processes of a control group may use together, and what of it they can still have."""

    limit: int
    free: int


class _Version(NamedTuple):
    """Of control groups: whose they are, and what their files are called."""

    controller: str
    #: The first ends a process; a group over the second is slowed down until it stands still.
    limits: Tuple[str, ...]
    used: str
    #: In `memory.stat`, before the names of what counts a group and those below it.
    prefix: str
    swap_limit: str
    swap_used: str
    #: Whether the last two count the memory as well.
    together: bool


_VERSIONS = (
    _Version(
        controller="",
        limits=("memory.max", "memory.high"),
        used="memory.current",
        prefix="",
        swap_limit="memory.swap.max",
        swap_used="memory.swap.current",
        together=False,
    ),
    _Version(
        controller="memory",
        limits=("memory.limit_in_bytes",),
        used="memory.usage_in_bytes",
        prefix="total_",
        swap_limit="memory.memsw.limit_in_bytes",
        swap_used="memory.memsw.usage_in_bytes",
        together=True,
    ),
)


def total() -> int:
    """Bytes of memory that this machine has, or that this container may use."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(group.limit for group in _groups())])


def free() -> Optional[int]:
    """Bytes of memory and swap that can be had before the kernel ends a process; None where that is unknown.

    It is unknown, too, where the address space is limited (`ulimit -v` or `-d`, systemd's `LimitAS=`), of
    which a process takes more than of memory.
    """
    if any(resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in _OF_ADDRESSES):
        return None
    try:
        machine = _numbers(MACHINE)
        available = (machine["MemAvailable:"] + machine["SwapFree:"]) << 10
    except (OSError, KeyError, ValueError):  # no Linux, or one of before 2014
        return None
    return min([available, *(group.free for group in _groups(machine["SwapFree:"] << 10))])


def _groups(swap: int = 0) -> Iterator[_Group]:
    """The groups with a limit that this process is in."""
    for version in _VERSIONS:
        for folder in folders(version.controller):
            limits = [number(folder / name) for name in version.limits]
            limit = min((each for each in limits if each is not None), default=None)
            if limit is not None:
                yield _Group(limit, _left(folder, version, limit, swap))


def _left(folder: Path, version: _Version, limit: int, swap: int) -> int:
    """Bytes that a group with a limit can still have, with what it can have of the machine's free swap."""
    used = number(folder / version.used) or 0
    cached = 0
    with contextlib.suppress(OSError, ValueError):  # it may not be for this process to read
        statistics = _numbers(folder / "memory.stat")
        kinds = ("active_file", "inactive_file")  # which can be read again
        cached = sum(statistics.get(version.prefix + kind, 0) for kind in kinds)
    return max(0, limit - used + cached) + _swap(folder, version, swap, limit - used)


def _swap(folder: Path, version: _Version, free: int, beside: int) -> int:
    """Bytes of the machine's free swap that a group can have.

    Args:
        folder: the group.
        version: that of its files.
        free: bytes of swap that the machine has free.
        beside: bytes that the group could have without swap, for a version that counts both together.
    """
    limit, used = number(folder / version.swap_limit), number(folder / version.swap_used)
    if limit is None or used is None:  # a kernel that counts no swap
        return free
    left = limit - used
    return max(0, min(free, left - beside if version.together else left))


def _numbers(path: Path) -> Dict[str, int]:
    """The numbers in a file, by the names before them; other lines are passed over."""
    words = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1}
