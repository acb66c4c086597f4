"""A channel between a front end and the engine process: for one model, and one batch at a time.

front end                                engine process
  {"choice": …}            ───────────>  opens the model, or has it open
                           <───────────  what it is, and memory; or {"error": …}, and the end
  pixels in the memory; 3  ───────────>  runs a batch of three
                           <───────────  1, of which float32 answered one again; probabilities in the memory
"""

from __future__ import annotations

import array
import contextlib
import json
import mmap
import os
import socket
import struct
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
from numpy.typing import NDArray

_NUMBER = struct.Struct("<I")
#: Bytes of a message, at most: the names of a million classes.
_LONGEST = 64 << 20


class Lost(Exception):
    """The other end is gone."""


class Rendezvous:
    """Where front ends find the engine process; they wait for the next one where there is none.

    It is made before either is forked, and its maker keeps it: what has been asked stays in it.
    """

    def __init__(self) -> None:
        self._asking, self._answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def connect(self) -> socket.socket:
        """A front end's end of a new channel."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                _send(self._asking, b"\0", theirs.fileno())
            except BaseException:
                ours.close()
                raise
        return ours

    def accept(self) -> socket.socket:
        """Wait for a front end; returns the engine process's end of its channel."""
        _, fds = _receive(self._answering, 1)
        return socket.socket(fileno=fds[0])

    def close(self) -> None:
        """Let go of it."""
        self._asking.close()
        self._answering.close()


class Area:
    """The memory of a channel."""

    def __init__(self, fd: int, max_batch: int, shape: Tuple[int, ...], outputs: int) -> None:
        """Map it.

        Raises:
            ValueError: it is smaller than that.
        """
        memory = mmap.mmap(fd, size_of_area(max_batch, shape, outputs))
        rows = max_batch * outputs
        #: uint32 [1], how many engine processes have begun to run this batch; first because of the alignment.
        self.begun: NDArray[np.uint32] = np.frombuffer(memory, np.uint32, 1)
        #: float32 [max_batch, outputs].
        self.rows: NDArray[np.float32] = np.frombuffer(memory, np.float32, rows, 4).reshape(
            max_batch, outputs
        )
        #: uint8 [max_batch, H, W, C].
        self.pixels: NDArray[np.uint8] = np.frombuffer(
            memory, np.uint8, max_batch * int(np.prod(shape)), 4 + 4 * rows
        ).reshape(max_batch, *shape)


def size_of_area(max_batch: int, shape: Tuple[int, ...], outputs: int) -> int:
    """Bytes of a channel's memory."""
    return 4 + max_batch * (4 * outputs + int(np.prod(shape)))


def send_message(channel: socket.socket, message: Dict[str, Any], *fds: int) -> None:
    """Send a message, and memory with it.

    Raises:
        Lost: nobody is there to get it.
    """
    content = json.dumps(message).encode()
    with _lost():
        _send(channel, _NUMBER.pack(len(content)), *fds)
        channel.sendall(content)


def receive_message(channel: socket.socket) -> Tuple[Dict[str, Any], List[int]]:
    """Wait for a message, and the memory that comes with it; its descriptors are the caller's to close.

    Raises:
        Lost: none will come.
    """
    with _lost():
        header, fds = _receive(channel, _NUMBER.size)
        try:
            (size,) = _NUMBER.unpack(header)
            if size > _LONGEST:
                raise Lost
            message: Dict[str, Any] = json.loads(_read(channel, size))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
    return message, fds


def send_count(channel: socket.socket, count: int) -> None:
    """Hand over how many pictures a batch has, or how many of them were close calls.

    Raises:
        Lost: nobody is there to get it.
    """
    with _lost():
        channel.sendall(_NUMBER.pack(count))


def receive_count(channel: socket.socket) -> int:
    """Wait for a batch, or for its end; see `send_count`.

    Raises:
        Lost: none will come.
    """
    with _lost():
        count: int = _NUMBER.unpack(_read(channel, _NUMBER.size))[0]
    return count


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Lost(str(error)) from None


def _read(channel: socket.socket, size: int) -> bytes:
    content = channel.recv(size, socket.MSG_WAITALL)
    if len(content) < size:
        raise Lost
    return content


# socket.send_fds and its like are there from Python 3.9 on.


def _send(channel: socket.socket, content: bytes, *fds: int) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([content], rights)


def _receive(channel: socket.socket, size: int) -> Tuple[bytes, List[int]]:
    """So many bytes, and at most one descriptor."""
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL
    fds = array.array("i")
    content, rights, _, _ = channel.recvmsg(size, socket.CMSG_SPACE(fds.itemsize), flags)
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if len(content) < size:
        raise Lost
    return content, list(fds)
