"""What a worker's parts share: whether it is to leave, what has failed, whether it is connected."""

from __future__ import annotations

import threading
from typing import Optional

from wire.messages import utc_now


class Life:
    """One worker's life. Any thread may read it, and end it.

    Attributes:
        leaving: set by a signal, by an action, and by a failure.
        restarts: whether the process is to begin again once the worker has left.
        may_restart: whether it can be told to.
        failure: what ended a thread, so that the worker cannot go on.
        online: whether there is a connection to the broker.
        started_at: when it began.
    """

    def __init__(self, may_restart: bool = True) -> None:
        self.leaving = threading.Event()
        self.restarts = False
        self.may_restart = may_restart
        self.failure: Optional[BaseException] = None
        self.online = False
        self.started_at = utc_now()

    def fail(self, failure: BaseException) -> None:
        """Let the main thread raise what has ended another one."""
        self.failure = self.failure or failure
        self.leaving.set()

    def check(self) -> None:
        """Raise what ended a thread, if anything did."""
        if self.failure is not None:
            raise self.failure
