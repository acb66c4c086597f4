"""The thread that everything of a connection happens in, and the calls that other threads post to it.

post ──> calls, and a byte to wake_socket ──> the thread's selector wakes ──> run_calls
"""

from __future__ import annotations

import collections
import contextlib
import select
import selectors
import socket
import threading
import time
from typing import Callable, Deque, Iterator, Optional

from wire.mqtt.handlers import in_handler


class NetworkThread:
    """A thread that runs what any thread posts, in that order, between other work.

    A selector of its own watches `wake_socket`, and calls `woken` where that has become readable.

    Attributes:
        failure: what ended it, if its work did not end by itself.
        ended: set once it has ended.
        calls: what has been posted and has not run yet.
        wake_socket: readable where something was posted by another thread.
    """

    def __init__(self, work: Callable[[], None], on_failure: Callable[[BaseException], None]) -> None:
        """Prepare a thread.

        Args:
            work: what it does; `run_calls` and `run_calls_for` are called there.
            on_failure: called in the thread with what has ended it, which then is `failure`.
        """
        self.failure: Optional[BaseException] = None
        self.ended = threading.Event()
        self.calls: Deque[Callable[[], None]] = collections.deque()
        self._work = work
        self._on_failure = on_failure
        self._is_woken = self._looks_at_calls = False
        self.wake_socket, self._waker = socket.socketpair()
        self.wake_socket.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

    def start(self) -> None:
        """Begin the work."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait so many seconds for its end."""
        self._thread.join(timeout)

    def is_alive(self) -> bool:
        """Whether it has started and not ended."""
        return self._thread.is_alive()

    def is_current(self) -> bool:
        """Whether this is called in the thread."""
        return threading.get_ident() == self._thread.ident

    def post(self, function: Callable[[], None]) -> None:
        """Run a function in the thread, soon."""
        self.calls.append(function)
        # The thread takes both back before it looks at the calls: a byte too many, but never one too few.
        if not (self._is_woken or self._looks_at_calls) and threading.get_ident() != self._thread.ident:
            self._is_woken = True
            # Full: the thread will wake anyway. Closed: it has ended.
            with contextlib.suppress(OSError):
                self._waker.send(b"\0")

    def woken(self) -> None:
        """Take the wake-up back."""
        self.wake_socket.recv(4096)
        self._is_woken = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Have no other thread wake this one, as long as it waits by `wait` alone."""
        try:
            self._looks_at_calls = True
            yield
        finally:
            self._looks_at_calls = False

    def wait(self, files: select.poll, seconds: float) -> int:
        """Wait until a file is ready, or something is posted.

        Args:
            files: one file, and `wake_socket`.
            seconds: the most to wait.

        Returns:
            poll's events of the one file; 0 if it is not ready.
        """
        self._looks_at_calls = False
        ready = files.poll(0 if self.calls else seconds * 1000)
        self._looks_at_calls = True
        found = 0
        for file, events in ready:
            if file == self.wake_socket.fileno():
                self.woken()
            else:
                found = events
        return found

    def run_calls(self) -> None:
        """Run what has been posted until now; what is posted meanwhile runs the next time."""
        with in_handler:
            for _ in range(len(self.calls)):
                self.calls.popleft()()

    def run_calls_for(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Wait so many seconds, or until stopped, and run meanwhile what is posted."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.wake_socket, selectors.EVENT_READ)
            while not stopped() and time.monotonic() < deadline:
                if selector.select(0.0 if self.calls else max(0.0, deadline - time.monotonic())):
                    self.woken()
                self.run_calls()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it from Connection.check()
            self.failure = error
            self._on_failure(error)
        finally:
            self.ended.set()
            self.wake_socket.close()
            self._waker.close()
