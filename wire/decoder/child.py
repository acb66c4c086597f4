"""The parent's end of one decoder process: its two pipes, and the memory that both see."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import AbstractSet, NamedTuple, Sequence

from wire.decoder.limit import Limit
from wire.decoder.memory import shared_memory
from wire.decoder.process import CANNOT_START, JOB, REPLY, ROOM, UNFIT
from wire.errors import NanofleetError, SettingsError
from wire.picture.errors import REASONS, Undecodable
from wire.picture.region import Region
from wire.settings import child_environment
from wire.signals import blocked_in_children

log = logging.getLogger(__name__)

#: Seconds in which a process must have started; an SD card under load is slow.
START_TIMEOUT = 30.0
#: Where our packages are imported from. The processes run there, so that theirs are the same.
_ROOT = Path(__file__).resolve().parents[2]
#: Makes glibc return a large image's memory: by itself it learns to keep it, 500 MB in each process. Pillow
#: asks for almost 16 MB at a time. Smaller ones, 1080p say, are kept: zeroing the pages again for each image
#: takes half as long as decoding it.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(12 << 20), "MALLOC_TRIM_THRESHOLD_": str(24 << 20)}


class Decoded(NamedTuple):
    """What a decoder process made of a picture."""

    #: All of the process's memory for it, also for the next picture's: what is needed then is copied.
    memory: memoryview
    #: Bytes of it that came of this picture.
    size: int
    #: Pixels of the whole picture as it was sent, upright.
    width: int
    height: int
    #: How long decoding took in the process.
    milliseconds: float
    #: False where a part of the picture was missing.
    complete: bool


class Unreadable(Exception):
    """A reply that no decoder of ours gives: a picture has taken it over, or its memory is broken."""


class _Reply(NamedTuple):
    reason: str
    detail: str
    size: int
    width: int
    height: int
    milliseconds: float
    complete: bool


class Child:
    """A decoder process, whose pipes never block the parent for longer than it wants."""

    def __init__(self, module: str, arguments: Sequence[str], *, capacity: int, memory: int) -> None:
        """Start the process, without waiting until it is ready.

        Args:
            module: its main, which hands the first two of its arguments to `wire.decoder.process.serve`.
            arguments: the others.
            capacity: bytes that may come of a picture.
            memory: bytes of address space that it may use beside those.

        Raises:
            NanofleetError: the system lets no process start.
        """
        # Each process has memory of its own, so that it reaches no pixels of another's frames.
        with shared_memory(ROOM + capacity) as memory_fd:
            shared = memoryview(mmap.mmap(memory_fd, 0))
            self._room, self._memory = shared[:ROOM], shared[ROOM:]
            command = [sys.executable, "-m", module, str(memory_fd), str(memory + len(shared)), *arguments]
            self._process = _start(command, memory_fd)
        assert self._process.stdin
        assert self._process.stdout
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._stdin, select.POLLOUT)
        self._readable.register(self._stdout, select.POLLIN)

    def wait_ready(self) -> None:
        """Wait for the process's hello.

        Raises:
            SettingsError: it reports that it cannot work with what is installed.
            NanofleetError: it reports another fault, or sends nothing.
        """
        try:
            hello = self._receive(Limit(START_TIMEOUT), {CANNOT_START, UNFIT})
        except EOFError:
            raise NanofleetError(f"a decoder process {self._fate()} before it was ready") from None
        except TimeoutError:
            raise NanofleetError(f"a decoder process was not ready within {START_TIMEOUT:g} s") from None
        except Unreadable:
            raise NanofleetError("a decoder process began with a reply that cannot be read") from None
        if hello.reason:
            kind = SettingsError if hello.reason == UNFIT else NanofleetError
            raise kind(f"a decoder process cannot start: {hello.detail}")
        if hello.detail:
            _warn_once(hello.detail)

    def decode(self, picture: bytes, region: Region, timeout: float) -> Decoded:
        """Decode a picture, or the region of it that is wanted.

        Raises:
            Undecodable: nothing came of it. For `decoder_timeout` and some `decoder_crashed`, the process has
                ended.
        """
        began = time.monotonic()
        limit = Limit(timeout)
        try:
            if len(picture) <= ROOM:
                self._room[: len(picture)] = picture
            self._send(JOB.pack(len(picture), *region), limit)
            if len(picture) > ROOM:
                self._send(picture, limit)
            reply = self._receive(limit, REASONS)
            if reply.milliseconds > (time.monotonic() - began) * 1000 + 1:
                raise Unreadable  # no sum of times would ever be right again
        except TimeoutError:
            self._process.kill()
            self._process.wait()
            raise Undecodable("decoder_timeout", f"decoding took longer than {timeout:g} s") from None
        except (EOFError, BrokenPipeError):
            raise Undecodable("decoder_crashed", f"the decoder process {self._fate()}") from None
        except Unreadable:
            self._process.kill()
            self._process.wait()
            raise Undecodable(
                "decoder_crashed", "the decoder process gave a reply that cannot be read"
            ) from None
        if reply.reason:
            raise Undecodable(reply.reason, reply.detail)
        return Decoded(self._memory, *reply[2:])

    def usable(self) -> bool:
        """Whether the process runs, and has sent nothing unasked: that would be taken for its next reply.

        Once it has ended, its pipe has as well, which a poll shows; to ask for its exit code costs more.
        """
        return not self._readable.poll(0)

    def kill(self) -> None:
        """Have the process end, from any thread."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()
        self._room = self._memory = memoryview(b"")  # unmapped once the last view of it is gone

    def _send(self, data: bytes, limit: Limit) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._stdin.fileno(), rest) :]
            except BlockingIOError:
                limit.wait(self._writable)

    def _receive(self, limit: Limit, reasons: AbstractSet[str]) -> _Reply:
        data = b""
        while len(data) < REPLY.size:
            limit.wait(self._readable)
            chunk = os.read(self._stdout.fileno(), REPLY.size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        reply = _read(data)
        if (reply.reason and reply.reason not in reasons) or reply.size > len(self._memory):
            raise Unreadable
        return reply

    def _fate(self) -> str:
        """How it ended, after one of its pipes has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        self._process.kill()
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


@functools.lru_cache(maxsize=None)
def _warn_once(unfenced: str) -> None:
    log.warning(
        "decoders have no system call filter: %s; a picture that takes one over may do what this user may",
        unfenced,
    )


def _start(command: Sequence[str], memory_fd: int) -> subprocess.Popen[bytes]:
    # Ctrl-C and systemd's SIGTERM reach the whole group: the parent drains, and needs its decoders for that.
    try:
        with blocked_in_children():
            return subprocess.Popen(
                command,
                bufsize=0,
                cwd=_ROOT,
                env={**child_environment(), **_MALLOC},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[memory_fd],
            )
    except OSError as error:
        raise NanofleetError(f"a decoder process cannot start: {error}") from None


def _read(data: bytes) -> _Reply:
    reason, detail, *rest = REPLY.unpack(data)
    reply = _Reply(_text(reason), _text(detail), *rest)
    if not math.isfinite(reply.milliseconds) or reply.milliseconds < 0:
        raise Unreadable
    return reply


def _text(padded: bytes) -> str:
    try:
        text = padded.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise Unreadable from None
    if not text.isprintable():
        raise Unreadable
    return text
