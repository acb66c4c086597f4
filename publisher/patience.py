"""How long a publisher waits for its broker, and for answers."""

from __future__ import annotations

import time
from typing import Optional

from wire.mqtt.connection import Connection
from wire.mqtt.reach import NotReached


class Patience:
    """Two clocks: one since the last answer, while there is a broker, and one for how long there is none.

    A broker that hangs up on a frame is there again a second later, and hangs up again. So it counts as there
    only from when something comes of what it was sent.
    """

    def __init__(self, connection: Connection, timeout: float, without_broker: float) -> None:
        """Args:
        connection: to the broker.
        timeout: seconds without any answer.
        without_broker: seconds without a connection over which anything comes.
        """
        self._connection = connection
        self._timeout = timeout
        self._without_broker = without_broker
        self._last_answer = time.monotonic()
        self._away_since: Optional[float] = self._last_answer

    def lost(self) -> None:
        """The connection is lost."""
        if self._away_since is None:
            self._away_since = time.monotonic()

    def heard(self) -> None:
        """The broker has answered a publication, or delivered something."""
        self._away_since = None

    def renew(self) -> None:
        """A frame is done, or the first is about to be sent."""
        self._last_answer = time.monotonic()

    def has_ended(self) -> bool:
        """Whether no answer came in time, although the broker is there.

        Raises:
            NotReached: it is not there for too long.
            NanofleetError: the connection has ended.
        """
        self._connection.check()
        away_since = self._away_since
        if self._connection.connected.is_set():
            return time.monotonic() - self._last_answer > self._timeout
        self._last_answer = time.monotonic()
        if away_since is not None and time.monotonic() - away_since > self._without_broker:
            raise NotReached(self._connection, self._without_broker)
        return False
