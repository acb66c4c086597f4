"""The child's end: jobs on stdin, replies on stdout, pictures and what came of them in shared memory.

    ROOM bytes of memory          a picture; a larger one follows its job on stdin
    the rest                      what came of it

A job is a JOB record that announces a picture; each gets one REPLY record, and so does the start. The
process ends when stdin does, so it never outlives its parent for longer than one picture.
"""

from __future__ import annotations

import functools
import mmap
import os
import resource
import signal
import struct
import sys
import time
from typing import Callable, NamedTuple

from wire.decoder.fence import raise_fence
from wire.picture.errors import Undecodable
from wire.picture.pillow import UnfitPillow, check_pillow
from wire.picture.region import Region
from wire.private import keep_memory_private

#: Bytes of the picture, and the region of it that is wanted.
JOB = struct.Struct("<Q4d")
#: Bytes of memory for a picture: cameras' are smaller, and a pipe, through which others come, takes 64 KiB at
#: a time.
ROOM = 1 << 20
#: Reason (empty: decoded) and detail in ASCII; bytes in the memory; width and height in pixels, milliseconds
#: it took, whether all of the picture was there.
REPLY = struct.Struct("<24s232sIIId?")
#: The reason in the first reply of a process that cannot work: a later one may, or none will until another
#: Pillow is installed.
CANNOT_START, UNFIT = "cannot_start", "unfit"


class Output(NamedTuple):
    """What came of a picture."""

    content: bytes
    #: Pixels of the whole picture as it was sent, upright.
    width: int = 0
    height: int = 0
    #: False where a part of the picture was missing.
    complete: bool = True


_NOTHING = Output(b"")
#: A picture's bytes, the region of it that is wanted, and the bytes of memory that decoding may take -> what
#: came of it, or Undecodable.
Decode = Callable[[bytes, Region, int], Output]


def serve(memory_fd: int, address_space: int, prepare: Callable[[], Decode]) -> None:
    """Decode until stdin ends.

    Args:
        memory_fd: file descriptor of the memory that is shared with the parent.
        address_space: bytes that this process may use in all.
        prepare: imports what decoding needs, and returns what decodes. It is called once the limit holds, and
            what it raises is reported to the parent.
    """
    # A parent that was killed reads nothing more: end without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # A stray print must not end up between the replies.
    replies = os.dup(1)
    os.dup2(2, 1)
    try:
        decode = _prepare(address_space, prepare)
        shared = memoryview(mmap.mmap(memory_fd, 0))
        room, memory = shared[:ROOM], shared[ROOM:]
        os.close(memory_fd)
        free = address_space - _address_space_used()
        unfenced = raise_fence(sys.stdin.fileno(), replies)
    except UnfitPillow as error:
        _reply(replies, UNFIT, str(error))
        return
    except Exception as error:  # noqa: BLE001 - what a broken installation raises is anybody's guess
        _reply(replies, CANNOT_START, f"{type(error).__name__}: {error}")
        return
    _reply(replies, detail=unfenced)
    while True:
        header = sys.stdin.buffer.read(JOB.size)
        if len(header) < JOB.size:
            return
        size, *region = JOB.unpack(header)
        picture = bytes(room[:size]) if size <= ROOM else sys.stdin.buffer.read(size)
        if len(picture) < size:
            return
        _answer(replies, memory, functools.partial(decode, picture, tuple(region), free - 2 * size))


def _prepare(address_space: int, prepare: Callable[[], Decode]) -> Decode:
    """Import what decoding needs, within the limit of memory, and hide that memory from other processes."""
    keep_memory_private()
    _limit(address_space)
    # Pillow 10 imports numpy for its type hints: 0.1 s, 20 MB, and 100 MB of address space.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    check_pillow()
    return prepare()


def _answer(replies: int, memory: memoryview, decode: Callable[[], Output]) -> None:
    began = time.perf_counter()
    try:
        output = decode()
        memory[: len(output.content)] = output.content
    except Undecodable as error:
        _reply(replies, error.reason, error.detail)
        return
    except Exception as error:  # noqa: BLE001 - a fault of ours costs one picture
        _reply(replies, "decoder_crashed", f"{type(error).__name__}: {error}")
        return
    _reply(replies, output=output, milliseconds=(time.perf_counter() - began) * 1000)


def _limit(memory: int) -> None:
    if sys.platform == "linux":  # macOS knows the limit and refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _address_space_used() -> int:
    """Bytes of address space; 0 where no limit holds."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - pathlib is 1 MB more
        return int(statm.read().split()[0]) * resource.getpagesize()


def _reply(
    replies: int,
    reason: str = "",
    detail: str = "",
    *,
    output: Output = _NOTHING,
    milliseconds: float = 0.0,
) -> None:
    record = REPLY.pack(
        reason.encode("ascii"),
        detail.encode("ascii", "replace"),
        len(output.content),
        output.width,
        output.height,
        milliseconds,
        output.complete,
    )
    os.write(replies, record)  # smaller than PIPE_BUF, so it is written whole or not at all
