"""The spool's thread: which of its frames is sent now, and which again later.

add ──> fresh ── as the window has room ──> in the window ── no answer in time ──> due later ─┐
                                                  ^──────────── when it is due ───────────────┘
"""

from __future__ import annotations

import collections
import heapq
import threading
import time
from typing import Callable, Deque, List, Optional, Tuple

from publisher.sent import Sent
from publisher.spool import Spool
from publisher.unanswered import Unanswered

#: The most seconds between two tries of a frame.
MAX_DELAY_SECONDS = 600.0


class Feeder:
    """Sends what is in the spool. A context manager around its thread; all else is for any thread."""

    def __init__(
        self,
        spool: Spool,
        unanswered: Unanswered,
        *,
        publish: Callable[[Sent, bytes], None],
        on_unreadable: Callable[[Sent], None],
    ) -> None:
        """Prepare the thread.

        Args:
            spool: where the images are.
            unanswered: the frames that are not done.
            publish: sends a frame.
            on_unreadable: receives a frame whose image the spool cannot read.
        """
        self._spool = spool
        self._unanswered = unanswered
        self._changed = unanswered.changed
        self._connection = unanswered.connection
        self._publish = publish
        self._on_unreadable = on_unreadable
        self._fresh: Deque[Sent] = collections.deque()
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

    def add_later(self, sent: Sent, first: float, max_delay: float = MAX_DELAY_SECONDS) -> None:
        """Send a frame after `first` seconds, or if it was sent before, after twice, four times, … that."""
        doublings = min(max(0, sent.tries - 1), 30)  # beyond, it is `max_delay` anyway, and no float at last
        delay = min(first * 2**doublings, max_delay)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + delay, sent.frame_id))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing and (sent := self._next()) is None:
                    self._changed.wait(0.05)
                if self._closing:
                    return
                assert sent is not None
                self._unanswered.in_window.add(sent.frame_id)
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
        if not self._connection.connected.is_set():
            return None
        frames, in_window = self._unanswered.frames, self._unanswered.in_window
        while self._due and self._due[0][0] <= time.monotonic():
            _, frame_id = heapq.heappop(self._due)
            sent = frames.get(frame_id)
            if sent is not None and frame_id in in_window:
                return sent
            if sent is not None:
                self._fresh.append(sent)
        while self._fresh and len(in_window) < self._unanswered.window:
            sent = self._fresh.popleft()
            if sent.frame_id in frames:
                return sent
        return None
