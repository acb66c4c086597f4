"""The spool's thread: which of its frames goes out now, and which again later.

add ──> fresh ── as the window has room ──> out ── no answer in time, or nobody there ──> later ─┐
                                             ^────────────────── when it is due ────────────────┘
"""

from __future__ import annotations

import collections
import heapq
import threading
import time
from typing import Callable, Deque, Dict, List, Optional, Set, Tuple

from publisher.sent import Sent
from publisher.spool import Spool

MAX_DELAY = 600.0


class Feeder:
    """Sends what is in the spool. A context manager around its thread; all else is for any thread."""

    def __init__(
        self,
        spool: Spool,
        waiting: Dict[str, Sent],
        changed: threading.Condition,
        window: int,
        *,
        is_connected: Callable[[], bool],
        publish: Callable[[Sent, bytes], None],
        on_unreadable: Callable[[Sent], None],
    ) -> None:
        """Args:
        spool: where the images are.
        waiting: the frames that are not done, by their id; `changed` guards it.
        changed: is notified of what is added or done.
        window: frames that are out at a time, at most.
        is_connected: whether anything can be sent.
        publish: sends a frame.
        on_unreadable: hears of a frame whose image the spool cannot read.
        """
        self._spool = spool
        self._waiting = waiting
        self._changed = changed
        self._window = window
        self._is_connected = is_connected
        self._publish = publish
        self._on_unreadable = on_unreadable
        self._fresh: Deque[Sent] = collections.deque()
        self._out: Set[str] = set()
        self._due: List[Tuple[float, str]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def add(self, sent: Sent) -> None:
        """Send a frame once there is room in the window."""
        with self._changed:
            self._fresh.append(sent)
            self._changed.notify_all()

    def add_later(self, sent: Sent, first: float, at_most: float = MAX_DELAY) -> None:
        """Send a frame after `first` seconds, or when it went out before, after twice, four times, … that."""
        doublings = min(max(0, sent.tries - 1), 30)  # beyond, it is `at_most` anyway, and no float at last
        delay = min(first * 2**doublings, at_most)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + delay, sent.frame_id))

    def done(self, sent: Sent) -> None:
        """A frame leaves the window; `changed` is held."""
        self._out.discard(sent.frame_id)

    def is_out(self, sent: Sent) -> bool:
        """Whether a frame has gone out, and is in the window."""
        return sent.frame_id in self._out

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing and (sent := self._next()) is None:
                    self._changed.wait(0.05)
                if self._closing:
                    return
                assert sent is not None
                self._out.add(sent.frame_id)
            kept = self._spool.kept.get(sent.frame_id)
            if kept is None:  # answered, or dropped, meanwhile
                continue
            try:
                image = self._spool.image(kept)
            except OSError as error:  # removed by somebody, or a bad disk: the others go on
                sent.unreadable = f"{kept.file}: {error.strerror or error}"
                if isinstance(error, FileNotFoundError):
                    self._spool.remove(sent.frame_id)
                self._on_unreadable(sent)
                continue
            self._publish(sent, image)

    def _next(self) -> Optional[Sent]:
        """The frame to send now, if there is one."""
        if not self._is_connected():
            return None
        while self._due and self._due[0][0] <= time.monotonic():
            _, frame_id = heapq.heappop(self._due)
            sent = self._waiting.get(frame_id)
            if sent is not None and frame_id in self._out:
                return sent
            if sent is not None:
                self._fresh.append(sent)
        while self._fresh and len(self._out) < self._window:
            sent = self._fresh.popleft()
            if sent.frame_id in self._waiting:
                return sent
        return None
