"""A decoder process that is there again after whatever a picture did to it."""

from __future__ import annotations

import threading
from typing import Callable, Optional

from wire.decoder.child import Child, Decoded
from wire.errors import NanofleetError
from wire.picture.region import WHOLE, Region


class Closed(Exception):
    """The decoder was closed while it was waited for."""


class Decoder:
    """Decodes in a process, which is replaced when it has died. A context manager.

    A process that takes too long is killed; one that dies, or replies with what cannot be read, is replaced.
    Either costs the one picture it had. One thread decodes; any may `kill`.
    """

    def __init__(self, start: Callable[[], Child], timeout: float) -> None:
        """Prepare a decoder; `start` starts its process.

        Args:
            start: starts a process.
            timeout: seconds for one picture, from its first byte written to a process.
        """
        self._start = start
        self._timeout = timeout
        self._lock = threading.Lock()
        self._child: Optional[Child] = None
        self._closed = False

    def __enter__(self) -> Decoder:
        """Start the process, and wait until it is ready.

        Raises:
            NanofleetError: it cannot start; the text says why.
        """
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self.close()

    def start(self) -> None:
        """Start the process; `wait_ready` must follow. Several start faster together.

        Raises:
            NanofleetError: the system lets no process start.
            Closed: so it is.
        """
        with self._lock:
            if self._closed:
                raise Closed
            self._child = self._start()

    def wait_ready(self) -> None:
        """Wait until the process can decode.

        Raises:
            NanofleetError: it cannot; the text says why.
            Closed: so it is.
        """
        assert self._child is not None
        try:
            self._child.wait_ready()
        except NanofleetError:
            if self._closed:
                raise Closed from None
            raise

    def decode(self, picture: bytes, region: Region = WHOLE) -> Decoded:
        """Decode a picture, or the region of it that is wanted.

        Raises:
            Undecodable: nothing came of it.
            NanofleetError: there is no process, or it has died while idle, and none can start.
            Closed: so it is.
        """
        self.revive()  # ended while idle, by a system short of memory: not this picture's fault
        assert self._child is not None
        return self._child.decode(picture, region, self._timeout)

    def revive(self) -> None:
        """Replace the process if it has died or is out of step, so that the next picture does not wait.

        One that was never started is started.

        Raises:
            NanofleetError: none can start.
            Closed: so it is.
        """
        if self._closed:
            raise Closed
        if self._child is not None:
            if self._child.usable():
                return
            self._child.end()
        self.start()
        self.wait_ready()

    def kill(self) -> None:
        """Have the process end, for good, from any thread; wakes the one that waits for it."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()

    def close(self) -> None:
        """End the process and leave nothing of it, once no thread waits for it any more."""
        self.kill()
        if self._child is not None:
            self._child.end()
