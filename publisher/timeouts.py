"""How long a publisher waits for its broker, and for answers."""

from __future__ import annotations

import time
from typing import Optional

from wire.mqtt.connection import Connection
from wire.mqtt.reach import NotReached


class Timeouts:
    """Two clocks: one since the last answer, and one for the broker.

    The answers' clock runs while connected. The broker's runs from the loss of a connection (or from the
    start) until the broker acknowledges or delivers something: one that hangs up on a frame accepts
    connections again a second later, and hangs up again.
    """

    def __init__(self, answer: float, broker: float) -> None:
        """Start both clocks.

        Args:
            answer: seconds without any answer.
            broker: seconds without a broker that acknowledges or delivers anything.
        """
        self.answer = answer
        self._broker = broker
        self._last_answer = time.monotonic()
        self._away_since: Optional[float] = self._last_answer

    def connection_lost(self) -> None:
        """Start the broker's clock, if it does not run."""
        if self._away_since is None:
            self._away_since = time.monotonic()

    def broker_reached(self) -> None:
        """Stop the broker's clock: it has acknowledged a frame, or delivered something."""
        self._away_since = None

    def renew(self) -> None:
        """Start the answers' clock again: a frame is done, or the first is about to be sent."""
        self._last_answer = time.monotonic()

    def has_passed(self, connection: Connection) -> bool:
        """Whether no answer came in time; without a connection the answers' clock starts again.

        Raises:
            NotReached: it is not reached for too long.
            NanofleetError: the connection has ended.
        """
        connection.check()
        away_since = self._away_since
        if connection.connected.is_set():
            return time.monotonic() - self._last_answer > self.answer
        self._last_answer = time.monotonic()
        if away_since is not None and time.monotonic() - away_since > self._broker:
            raise NotReached(connection, self._broker)
        return False
