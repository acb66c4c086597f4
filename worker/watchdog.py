"""Notices a part that makes no progress, so that a supervisor can start the worker again.

A stalled part cannot report that itself: each is asked, from outside, how long its oldest work has waited.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Callable, Dict, List, Optional

from wire.errors import NanofleetError
from worker.awake import Awake

#: Seconds in which a state must get into a supervisor's queue.
_NOTIFY_TIMEOUT = 0.5


class Stalled(NanofleetError):
    """A part of the worker makes no progress; what it holds stays with the broker, for the next start."""

    ends_process = True


class Watchdog:
    """Asks each part since when it has made no progress. All calls come from the main thread."""

    def __init__(self, limit: float, post: Callable[[Callable[[], None]], None]) -> None:
        """Watch the network thread, and no other part yet.

        Args:
            limit: seconds without progress after which a part has stalled.
            post: runs a function in the network thread.
        """
        self._limit = limit
        self._post = post
        self._awake = Awake()
        self._asked: Optional[float] = None
        self._parts: Dict[str, Callable[[], float]] = {"network thread": self._network}

    def watch(self, name: str, stalled_for: Callable[[], float]) -> None:
        """Watch a part.

        Args:
            name: what it is called in the error.
            stalled_for: seconds for which it has had work and made no progress; 0 for none.
        """
        self._parts[name] = stalled_for

    def check(self) -> None:
        """Ask each part; notify systemd that all is well.

        Raises:
            Stalled: one makes no progress.
        """
        awake = self._awake.look()
        for name, stalled_for in self._parts.items():
            seconds = min(stalled_for(), awake)
            if seconds > self._limit:
                raise Stalled(
                    f"the {name} has made no progress for {seconds:.0f} s (--stall-timeout); "
                    "leaving, to be started again"
                )
        notify("WATCHDOG=1")

    def _network(self) -> float:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            self._post(self._answer)
            return 0.0
        return now - self._asked

    def _answer(self) -> None:
        self._asked = None


def do_alive(work: Callable[[], None], stop: threading.Event) -> None:
    """Do long work in a thread of its own, and notify systemd meanwhile that all is well.

    Args:
        work: the work.
        stop: set to leave it unfinished.

    Raises:
        Exception: what the work raises.
    """
    failures: List[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - carried to the caller
            failures.append(error)

    # It may be left in an engine's code, like the thread that follows commands.
    thread = threading.Thread(target=run, name="control", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        notify("WATCHDOG=1")
        thread.join(0.5)
    if failures and not stop.is_set():
        raise failures[0]


def notify(state: str) -> None:
    """Notify systemd of a state, where it has started this process with Type=notify (see sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    # A supervisor that does not read must neither end the worker nor hold it up for long.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_NOTIFY_TIMEOUT)
        sender.connect(address)
        sender.sendall(state.encode())
