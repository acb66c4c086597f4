"""The main of a decoder process: jobs on stdin, replies on stdout, pixels in shared memory.

    python -m worker.decode.process FD MEMORY MAX_PIXELS fast|exact RECIPE

A job is a JOB record and the payload it announces; each gets one REPLY record, and so does the start.
The process ends when stdin does, so it never outlives its parent for longer than one frame. All it
imports is Pillow, what Pillow needs, `wire.picture` and two modules without any more: it starts anew for
hostile frames.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from typing import Sequence

#: Offset in the shared memory, bytes of payload that follow.
JOB = struct.Struct("<QQ")
#: Reason (empty: decoded) and detail in ASCII; width and height in pixels, milliseconds it took, whether all
#: of the image was there.
REPLY = struct.Struct("<24s232sIId?")
#: The reason in the first reply of a process that cannot work.
CANNOT_START = "cannot_start"


def main(arguments: Sequence[str]) -> None:
    """Decode until stdin ends.

    Args:
        arguments: file descriptor of the shared memory, bytes of address space, pixels to decode at most, how
            to decode, and the model's Preprocessing in JSON, as far as decoders read it.
    """
    # A parent that was killed cannot hear: end without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # A stray print must not end up between the replies.
    replies = os.dup(1)
    os.dup2(2, 1)
    try:
        _limit(int(arguments[1]))
        # Pillow 10 imports numpy for its type hints: 0.1 s, 20 MB, and 100 MB of address space.
        sys.modules["numpy"] = None  # type: ignore[assignment]
        # Here, where the limit holds and where the parent can be told what is missing.
        from wire.picture.errors import Undecodable
        from worker.decode.image import decode
        from worker.decode.preprocessing import Preprocessing

        memory = mmap.mmap(int(arguments[0]), 0)
    except (ImportError, MemoryError, OSError, ValueError) as error:
        _reply(replies, CANNOT_START, f"{type(error).__name__}: {error}")
        return
    max_pixels, exact = int(arguments[2]), arguments[3] == "exact"
    preprocessing = Preprocessing(**json.loads(arguments[4]))
    free = int(arguments[1]) - _address_space()
    _reply(replies)

    while True:
        header = sys.stdin.buffer.read(JOB.size)
        if len(header) < JOB.size:
            return
        offset, size = JOB.unpack(header)
        payload = sys.stdin.buffer.read(size)
        if len(payload) < size:
            return
        began = time.perf_counter()
        try:
            decoded = decode(payload, preprocessing, max_pixels, exact=exact, memory=free - 2 * size)
        except Undecodable as error:
            _reply(replies, error.reason, error.detail)
            continue
        memory[offset : offset + len(decoded.pixels)] = decoded.pixels
        milliseconds = (time.perf_counter() - began) * 1000
        _reply(
            replies,
            width=decoded.width,
            height=decoded.height,
            milliseconds=milliseconds,
            complete=decoded.complete,
        )


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS knows the limit and refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _address_space() -> int:
    """Bytes of address space that this process uses already; 0 where no limit holds."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - pathlib is 1 MB more
        return int(statm.read().split()[0]) * resource.getpagesize()


def _reply(
    replies: int,
    reason: str = "",
    detail: str = "",
    *,
    width: int = 0,
    height: int = 0,
    milliseconds: float = 0.0,
    complete: bool = True,
) -> None:
    # Smaller than PIPE_BUF, so it is written whole or not at all.
    ascii_detail = detail.encode("ascii", "replace")
    os.write(replies, REPLY.pack(reason.encode("ascii"), ascii_detail, width, height, milliseconds, complete))


if __name__ == "__main__":
    main(sys.argv[1:])
