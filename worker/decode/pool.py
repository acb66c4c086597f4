"""The parent's side of the decoder processes: payloads in, pixels out, whatever the payloads do.

submit ──> jobs ──> one thread per process: take a job, take a slot ──> on_done(job, Pixels)
                    │ payload                 ▲ size and time           on_done(job, FrameError)
                    ▼                         │
                    worker.decode.process ───┴─ pixels ──> slots (shared memory), back by Pixels.release

A process that takes too long is killed, one that dies is replaced; either costs the one frame it had.
"""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import (
    IO,
    Callable,
    Dict,
    Generic,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
    Union,
)

import numpy as np

from wire.errors import NanofleetError
from wire.picture.limits import MAX_PIXELS, MEMORY
from wire.settings import child_environment
from worker.decode.preprocessing import Preprocessing
from worker.decode.process import CANNOT_START, JOB, REPLY
from worker.errors import (
    CorruptImage,
    DecoderCrashed,
    DecoderTimeout,
    EmptyPayload,
    FrameError,
    ImageTooLarge,
    NotAnImage,
)

T = TypeVar("T")

#: Seconds in which a process must have started; an SD card under load is slow.
START_TIMEOUT = 30.0
#: Where `worker` is imported from. The processes run there, so that theirs is the same.
_ROOT = Path(__file__).resolve().parents[2]
#: Makes glibc return a large image's memory: by itself it learns to keep it, 500 MB in each process. Pillow
#: asks for almost 16 MB at a time. What is smaller, 1080p say, is kept: zeroing its pages for each image anew
#: takes half as long as decoding it.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(12 << 20), "MALLOC_TRIM_THRESHOLD_": str(24 << 20)}
#: What of a Preprocessing is left to the decoders.
_DECODERS_READ = ("resize", "crop", "interpolation", "fit", "channels", "width")
_ERRORS: Dict[str, Type[FrameError]] = {
    error.reason.value: error
    for error in (EmptyPayload, NotAnImage, CorruptImage, ImageTooLarge, DecoderCrashed)
}


class Pixels:
    """A decoded image in a slot of shared memory, which is the caller's until it is released."""

    def __init__(
        self,
        array: np.ndarray,
        width: int,
        height: int,
        decode_ms: float,
        give_back: Callable[[], None],
        *,
        complete: bool = True,
    ) -> None:
        #: uint8 [H, W, C], as the model's Preprocessing has it. It is a view on the slot: what is needed
        #: after `release` is copied.
        self.array = array
        #: Pixels of the whole image as it was sent, upright.
        self.width = width
        self.height = height
        #: Milliseconds that decoding took in its process.
        self.decode_ms = decode_ms
        #: False where a part of the image was missing.
        self.complete = complete
        self._give_back: Optional[Callable[[], None]] = give_back

    def release(self) -> None:
        """Give the slot back, to be written again. More than once does nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class DecoderPool(Generic[T]):
    """Decoder processes, with a time and a memory limit each. A context manager.

    Attributes:
        failed: what ended one of the pool's threads, if anything but close did. Frames may then wait for
            ever, so the worker has to end.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        processes: int,
        slots: int,
        on_done: Callable[[T, Union[Pixels, FrameError]], None],
        on_failure: Callable[[BaseException], None],
        timeout: float = 5.0,
        memory: int = MEMORY,
        max_pixels: int = MAX_PIXELS,
        exact: bool = False,
    ) -> None:
        """Args:
        preprocessing: what the model wants; the slots have its size.
        processes: decoders, each of them a process.
        slots: images that may be decoded and not yet released; decoding waits while there are more.
        on_done: gets each submitted job with its outcome, in one of the pool's threads.
        on_failure: gets what `failed` is set to, in the thread that it ended.
        timeout: seconds for one image, from its first byte written to a process.
        memory: bytes of address space that each process may use.
        max_pixels: to decode of an image, at most; of a JPEG, counted after libjpeg's scaling.
        exact: whether to decode every JPEG at its full size.
        """
        self.failed: Optional[BaseException] = None
        self._shape = preprocessing.shape
        self._slot_size = int(np.prod(self._shape))
        self._pixels = np.empty((0, *self._shape), np.uint8)
        self._slots = slots
        self._processes = processes
        self._timeout = timeout
        self._on_done = on_done
        self._on_failure = on_failure
        # The slots are address space as well, and none of a frame's.
        address_space = memory + slots * self._slot_size
        recipe = {name: getattr(preprocessing, name) for name in _DECODERS_READ}
        how = "exact" if exact else "fast"
        self._arguments = [str(address_space), str(max_pixels), how, json.dumps(recipe)]
        # None tells a thread to end.
        self._jobs: queue.SimpleQueue[Optional[Tuple[T, bytes]]] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[Optional[int]] = queue.SimpleQueue()
        self._threads: List[threading.Thread] = []
        self._lock = threading.Lock()
        self._children: Set[_Child] = set()
        self._resources = contextlib.ExitStack()
        self._closing = False

    def __enter__(self) -> DecoderPool[T]:
        """Start the processes, and wait until each has said hello.

        Raises:
            NanofleetError: one cannot start; the text says why.
        """
        try:
            self._memory_fd = self._resources.enter_context(_shared_memory(self._slots * self._slot_size))
            memory = mmap.mmap(self._memory_fd, 0)
            self._pixels = np.frombuffer(memory, np.uint8).reshape(self._slots, *self._shape)
            for slot in range(self._slots):
                self._free.put(slot)
            children = [self._spawn() for _ in range(self._processes)]
            for child in children:
                child.wait_ready()
        except BaseException:
            self.close()
            raise
        for number, child in enumerate(children):
            thread = threading.Thread(target=self._run, args=(child,), name=f"decoder-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the pool."""
        self.close()

    def submit(self, job: T, payload: bytes) -> None:
        """Have a payload decoded; never waits. `on_done` gets the job, unless the pool is closed first."""
        self._jobs.put((job, payload))

    @property
    def backlog(self) -> int:
        """Payloads that wait for a decoder."""
        return self._jobs.qsize()

    def close(self) -> None:
        """End the processes and threads, within a moment; Pixels that are out stay valid.

        Jobs that have no outcome yet are dropped: their frames are still with the broker.
        """
        with self._lock:
            self._closing = True
            for child in self._children:
                child.kill()  # wakes the thread that waits for its reply
        for _ in self._threads:
            self._jobs.put(None)
            self._free.put(None)
        for thread in self._threads:
            thread.join(timeout=5)
        while self._children:
            self._children.pop().end()
        self._pixels = self._pixels[:0].copy()  # lets go of the memory, once no Pixels are out
        self._resources.close()

    # --- a thread's life ----------------------------------------------------------------------------

    def _run(self, child: _Child) -> None:
        try:
            self._decode_until_closed(child)
        except _Closing:
            pass
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            self.failed = self.failed or error
            self._on_failure(error)

    def _decode_until_closed(self, child: _Child) -> None:
        while True:
            job, slot = self._jobs.get(), self._free.get()
            if job is None or slot is None or self._closing:
                return
            if not child.alive():  # ended while idle, by a system short of memory: not this frame's fault
                child = self._replace(child)
            outcome = self._decode(child, slot, job[1])
            if self._closing:
                return
            self._on_done(job[0], outcome)
            if not child.alive():  # at once, so that the next frame need not wait for it
                child = self._replace(child)

    def _decode(self, child: _Child, slot: int, payload: bytes) -> Union[Pixels, FrameError]:
        try:
            reply = child.decode(slot * self._slot_size, payload, self._timeout)
        except FrameError as error:
            self._free.put(slot)
            return error
        give_back = functools.partial(self._free.put, slot)
        return Pixels(
            self._pixels[slot],
            reply.width,
            reply.height,
            reply.milliseconds,
            give_back,
            complete=reply.complete,
        )

    def _spawn(self) -> _Child:
        with self._lock:
            if self._closing:
                raise _Closing
            child = _Child(self._memory_fd, self._arguments)
            self._children.add(child)
        return child

    def _replace(self, dead: _Child) -> _Child:
        with self._lock:
            self._children.discard(dead)
        dead.end()
        child = self._spawn()
        try:
            child.wait_ready()
        except NanofleetError:
            if self._closing:
                raise _Closing from None
            raise
        return child


class _Closing(Exception):
    """The pool closes, and its threads end."""


class _Reply(NamedTuple):
    reason: str
    detail: str
    width: int
    height: int
    milliseconds: float
    complete: bool


class _Child:
    """A decoder process and its two pipes, which never block the parent for longer than it wants."""

    def __init__(self, memory_fd: int, arguments: Sequence[str]) -> None:
        """Start the process, without waiting until it is ready.

        Raises:
            NanofleetError: the system lets no process start.
        """
        command = [sys.executable, "-m", "worker.decode.process", str(memory_fd), *arguments]
        # Ctrl-C and systemd's SIGTERM reach the whole group: the parent drains, and needs its decoders for
        # that. A process begins with its parent's mask, so that there is no moment in which it can be hit.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._process = subprocess.Popen(
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
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        assert self._process.stdin
        assert self._process.stdout
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)

    def wait_ready(self) -> None:
        """Wait for the process's hello.

        Raises:
            NanofleetError: it says that it cannot work, or says nothing.
        """
        try:
            hello = self._receive(time.monotonic() + START_TIMEOUT)
        except EOFError:
            raise NanofleetError(f"a decoder process {self._fate()} before it was ready") from None
        except TimeoutError:
            raise NanofleetError(f"a decoder process was not ready within {START_TIMEOUT:g} s") from None
        if hello.reason == CANNOT_START:
            raise NanofleetError(f"a decoder process cannot start: {hello.detail}")

    def decode(self, offset: int, payload: bytes, timeout: float) -> _Reply:
        """Decode a payload to an offset in the shared memory.

        Raises:
            FrameError: there are no pixels, and nobody writes them any more.
        """
        deadline = time.monotonic() + timeout
        try:
            self._send(JOB.pack(offset, len(payload)), deadline)
            self._send(payload, deadline)
            reply = self._receive(deadline)
        except TimeoutError:
            self.kill()
            self._process.wait()
            raise DecoderTimeout(f"decoding took longer than {timeout:g} s") from None
        except (EOFError, BrokenPipeError):
            raise DecoderCrashed(f"the decoder process {self._fate()}") from None
        if reply.reason:
            raise _ERRORS[reply.reason](reply.detail)
        return reply

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Have the process end, from any thread."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()

    def _send(self, data: bytes, deadline: float) -> None:
        rest = memoryview(data)
        while rest:
            _wait(self._stdin, select.POLLOUT, deadline)
            rest = rest[os.write(self._stdin.fileno(), rest) :]

    def _receive(self, deadline: float) -> _Reply:
        data = b""
        while len(data) < REPLY.size:
            _wait(self._stdout, select.POLLIN, deadline)
            chunk = os.read(self._stdout.fileno(), REPLY.size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        reason, detail, *rest = REPLY.unpack(data)
        return _Reply(_text(reason), _text(detail), *rest)

    def _fate(self) -> str:
        """How it ended, after one of its pipes has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        self._process.kill()
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii")


@contextlib.contextmanager
def _shared_memory(size: int) -> Iterator[int]:
    """A file descriptor of memory that has no name, so that nothing is left of it."""
    if sys.platform == "linux":
        fd = os.memfd_create("nanofleet-pixels")
    else:
        fd, name = tempfile.mkstemp(prefix="nanofleet-pixels-")
        Path(name).unlink()
    try:
        os.ftruncate(fd, size)
        yield fd
    finally:
        os.close(fd)
