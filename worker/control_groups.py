"""The control groups that this process is in: a container is one, and so is a systemd service.

There are two versions of them. A machine may have both at once, with the limits in the first, as a Jetson
Nano's Ubuntu 18.04 does.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Iterator, Optional

#: Where control groups are mounted (those of version 1 below it), and the list of those that this process is
#: in.
GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def folders(controller: str) -> Iterator[Path]:
    """The folder of this process's group, and all above it: each of them may have a limit.

    Args:
        controller: of version 1, whose groups are mounted under its name; empty for version 2, which has one
            tree for all.
    """
    mount = GROUPS / controller
    with contextlib.suppress(OSError, ValueError):
        for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                own = mount / path.lstrip("/")
                yield own
                # A container may know its path on the host, and see only itself: at the root.
                yield from (above for above in own.parents if above == mount or mount in above.parents)


def number(path: Path) -> Optional[int]:
    """The number in a file; None where there is no file, or "max" in it."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
