"""What is nobody else's: this process's memory, and the files that it keeps."""

from __future__ import annotations

import contextlib
import resource
import sys

_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Have no core dump, and no other process of the same user, show what is in this process's memory.

    A process that is started anew has to ask for this again.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(ImportError):  # a Python without ctypes
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(0) for _ in range(4)))
