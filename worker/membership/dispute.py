"""Whether another worker takes this one's session over, seen by how long connections last.

Most brokers show a duplicate by its status (see `worker.membership.presence`). rumqttd does not even deliver
that: all there is to see is that the connection is lost again and again, soon after it was made.
"""

from __future__ import annotations

import logging
import time
from typing import Callable

log = logging.getLogger(__name__)

#: Connections that last for fewer seconds, so many in a row, are lost for another reason than the network.
SHORT_LIFE_SECONDS, SHORT_LIVES = 5.0, 3
#: Seconds after which no other worker can want the session: it would have taken the connection over by now.
UNDISPUTED_SECONDS = 2 * SHORT_LIFE_SECONDS


class Dispute:
    """The lives of one session's connections. Calls come from the network thread, and the main one."""

    def __init__(self, worker_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a suspicion.

        Args:
            worker_id: whose session it is.
            clock: seconds.
        """
        self._worker_id = worker_id
        self._clock = clock
        self._connected_at = 0.0
        self._short_lives = 0
        self._suspected = False

    @property
    def is_hung_up_on(self) -> bool:
        """Whether the connection is lost again and again, as if another worker took the session over."""
        return self._short_lives >= SHORT_LIVES

    @property
    def is_open(self) -> bool:
        """Whether another worker may have the session now, or take it over at any moment."""
        return self._suspected and self._lived() < UNDISPUTED_SECONDS

    def connected(self) -> None:
        """Note that a connection was made."""
        self._connected_at = self._clock()

    def lost(self) -> None:
        """Note that it was lost."""
        lived = self._lived()
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
        self._suspected = self.is_hung_up_on or (self._suspected and lived < UNDISPUTED_SECONDS)
        if self.is_hung_up_on:
            log.warning(
                "the connection was lost %d times soon after it was made: does another worker run as %r? "
                "Give each its own --worker-id",
                self._short_lives,
                self._worker_id,
            )

    def count_again(self) -> None:
        """Count short lives from none: a network that was bad before may be good for long enough now."""
        self._short_lives = 0

    def _lived(self) -> float:
        return self._clock() - self._connected_at
