"""The retained model commands, read before a worker takes its first frame.

A session that the broker has kept hands frames over as soon as its worker connects. So another client reads
the commands first: the worker loads one model, and its first answers are that model's.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import Callable, Dict, Optional, Sequence

from wire.broker import Broker
from wire.mqtt.connection import Connection
from wire.mqtt.packets import Delivery
from wire.mqtt.reach import wait_until_quiet
from wire.waiting import wait_until

#: Seconds without a retained message after which all have come.
QUIET = 0.3
#: Seconds for which a session is kept that turns out to be the worker's: enough to load a model.
SESSION_EXPIRY = 3600


def read_commands(
    broker: Broker,
    topics: Sequence[str],
    *,
    timeout: float,
    stop: threading.Event,
    alive: Callable[[], object] = lambda: None,
) -> Optional[Dict[str, bytes]]:
    """Read what is retained on some topics.

    Args:
        broker: where.
        topics: the control topics.
        timeout: seconds to wait for the broker.
        stop: ends the waiting.
        alive: called often meanwhile.

    Returns:
        The payload on each topic that has one; None if there was no broker in time.

    Raises:
        ConnectionRefused: the broker does not let this member in, or read there.
    """
    retained = _Retained(broker, topics)
    connection = retained.connection

    def check() -> None:
        connection.check()
        alive()

    connection.__enter__()
    try:
        wait_until(lambda: connection.subscribed.is_set() or stop.is_set(), timeout, check=check)
        if not connection.subscribed.is_set():
            return None
        wait_until_quiet(connection, lambda: retained.last_came, QUIET)
    finally:
        connection.close(session_expiry=0 if retained.session_is_new else None)
    return {topic: payload for topic, payload in retained.found.items() if payload}


class _Retained:
    """What is retained on some topics, and the connection that receives it."""

    def __init__(self, broker: Broker, topics: Sequence[str]) -> None:
        self._topics = topics
        self.found: Dict[str, bytes] = {}
        self.last_came = time.monotonic()
        #: A broker that names its clients itself, by their user say, hands the worker's own session over
        #: with the frames that wait for it. Only a session that is new is ended.
        self.session_is_new = False
        self.connection = Connection(
            broker,
            f"nanofleet-commands-{uuid.uuid4().hex[:12]}",
            on_delivery=self._receive,
            on_connected=self._connected,
            subscriptions=dict.fromkeys(topics, 0),
            session_expiry=SESSION_EXPIRY,
        )

    # --- in the connection's network thread -------------------------------------------------------------

    def _receive(self, delivery: Delivery) -> None:
        if delivery.topic in self._topics:
            self.found[delivery.topic] = delivery.payload
            self.last_came = time.monotonic()

    def _connected(self, session_present: bool) -> None:
        self.session_is_new = not session_present
