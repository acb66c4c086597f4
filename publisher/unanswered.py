"""The frames that are not done yet, and waiting for them."""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, List, Optional, Set

from publisher.sent import Sent
from publisher.spool import Spool
from publisher.timeouts import Timeouts
from wire.errors import NanofleetError
from wire.mqtt.connection import Connection

#: Seconds after which those who wait look again, though nothing has changed: at the clocks, and at `stop`.
_STEP_SECONDS = 0.05


class Stopped(Exception):
    """The run is to end before all is done."""


class NoAnswers(NanofleetError):
    """Nothing was answered for as long as the publisher would wait."""


class Unanswered:
    """The frames that are not done, by their ids. Thread-safe.

    Attributes:
        frames: all of them, oldest first; each until its report has returned.
        in_window: with a spool, the ids of those that its thread has sent.
        changed: held while one of the two changes, and notified of frames that are done.
        window: frames that are sent ahead of their answers, at most.
        connection: to the broker.
        timeouts: when they are waited for no longer.
        stop: set it to have whoever waits raise Stopped.
    """

    def __init__(
        self, window: int, connection: Connection, timeouts: Timeouts, spool: Optional[Spool]
    ) -> None:
        """Begin with what an earlier run has left.

        Args:
            window: frames that are sent ahead of their answers, at most.
            connection: to the broker.
            timeouts: when to wait no longer.
            spool: keeps them, so that none is ever missing; holds what an earlier run has left.
        """
        restored = spool.kept if spool else {}
        self.frames: Dict[str, Sent] = {name: Sent.of_earlier_run(kept) for name, kept in restored.items()}
        self.in_window: Set[str] = set()
        self.changed = threading.Condition()
        self.stop = threading.Event()
        self.window = window
        self.connection = connection
        self.timeouts = timeouts
        self._spooled = spool is not None

    def add(self, sent: Sent) -> None:
        """A frame is about to be sent."""
        with self.changed:
            if not self.frames:
                self.timeouts.renew()
            self.frames[sent.frame_id] = sent

    def finish(self, sent: Sent, report: Callable[[Sent], None]) -> None:
        """Report a frame that is done, once; only then is it waited for no longer.

        The lock is free meanwhile, because a report may have to wait, as for a terminal that is stopped.
        """
        with self.changed:
            if sent.done or sent.frame_id not in self.frames:
                return
            sent.done = True
        sent.milliseconds = (time.perf_counter() - sent.started) * 1000
        report(sent)
        with self.changed:
            self.frames.pop(sent.frame_id, None)
            self.in_window.discard(sent.frame_id)
            self.timeouts.renew()
            self.changed.notify_all()

    def taken(self) -> List[Sent]:
        """Those in the window that the broker has taken for somebody."""
        with self.changed:
            sent = (each for each in self.frames.values() if each.frame_id in self.in_window)
            return [each for each in sent if each.reason_code == 0]

    def wait_for_room(self) -> None:
        """Wait until there is room in the window.

        Raises:
            NoAnswers, Stopped, NotReached, NanofleetError: see `wait_until_at_most`.
        """
        self.wait_until_at_most(self.window - 1)

    def wait_until_at_most(self, count: int, seconds: float = float("inf")) -> None:
        """Wait until so few are left, or so many seconds have passed.

        Raises:
            NoAnswers: no answer came in time; the frames stay in the spool.
            Stopped: `stop` was set.
            NotReached: the broker was not reached in time.
            NanofleetError: the connection has ended.
        """
        until = time.monotonic() + seconds
        with self.changed:
            while len(self.frames) > count and time.monotonic() < until:
                self._wait()

    def wait_for_change(self) -> None:
        """Wait until a frame is done, for a moment at most.

        Raises:
            NoAnswers, Stopped, NotReached, NanofleetError: see `wait_until_at_most`.
        """
        with self.changed:
            self._wait()

    def _wait(self) -> None:
        if self.stop.is_set():
            raise Stopped
        if self.timeouts.has_passed(self.connection):
            if self._spooled:
                raise NoAnswers(f"no answer for {self.timeouts.answer:g} s (--timeout)")
            self.frames.clear()  # missing: their `answer` stays None
        self.changed.wait(_STEP_SECONDS)
