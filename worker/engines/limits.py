"""Limits of a process that runs an ONNX graph which may be by anyone: the kernel keeps them."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

from wire.private import keep_memory_private
from worker import cores, memory
from worker.engines.sessions import out_of_memory

#: Bytes of memory that any file may take, for what its layers hand on: less than half of a Jetson Nano's.
BASE = 2 << 30
#: And so many for each processor, for stacks of threads and batches that run at once. Of 64, OpenVINO took 44
#: MiB for each.
PER_CORE = 64 << 20
#: And so many for each byte of its files: as read, as parsed, as onnxruntime has it, and as its operators do.
#: Half precision took 6 on a CPU, other files 4 to 5; weights of 8 bits become floats.
PER_BYTE = 12
#: Seconds to wait for a second of its time on a processor: where a worker serves beside it, it gets few.
SECONDS_PER_CPU_SECOND = 10


def limit_time(seconds: float) -> None:
    """Have the kernel end this process after so much processor time: it may react to nothing else then."""
    keep_memory_private()  # without a core dump
    _limit(resource.RLIMIT_CPU, math.ceil(seconds))


def limit_memory(files: Sequence[Path]) -> None:
    """Have the kernel refuse this process more memory than a graph in these files may take."""
    # Not the address space, of which each thread takes much that it does not use.
    # What cannot be read has no size here: whoever opens it says why.
    size = sum(file.stat().st_size for file in files if os.access(file, os.R_OK))
    base = min(BASE + PER_CORE * cores.available(), memory.total() // 2)
    _limit(resource.RLIMIT_DATA, _held() + base + PER_BYTE * size)


def refused_memory(error: BaseException) -> Optional[int]:
    """The MiB that the limit was, where an error says that there was no more; else None."""
    if not any(map(out_of_memory, causes(error))):
        return None
    return resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20


def _held() -> int:
    """Bytes that count already, used or not: NumPy has a thread for each processor, and 40 MiB for each."""
    with contextlib.suppress(OSError):  # no Linux
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[5]
        return int(pages) * resource.getpagesize()
    return 0


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)  # the machine's owner may have set a lower one
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it came of, and so on."""
    found: Any = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
