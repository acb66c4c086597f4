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

#: Seconds without a retained message after which all have come.
QUIET = 0.3
#: Seconds for which a session is kept that turns out to be the worker's: enough to load a model.
SESSION_EXPIRY = 3600


def read_commands(
    broker: Broker,
    topics: Sequence[str],
    *,
    patience: float,
    stop: threading.Event,
    alive: Callable[[], object] = lambda: None,
) -> Optional[Dict[str, bytes]]:
    """Read what is retained on some topics.

    Args:
        broker: where.
        topics: the control topics.
        patience: seconds to wait for the broker.
        stop: ends the waiting.
        alive: called often meanwhile.

    Returns:
        The payload on each topic that has one; None if there was no broker in time.

    Raises:
        ConnectionRefused: the broker does not let this member in, or read there.
    """
    found: Dict[str, bytes] = {}
    last = time.monotonic()

    def receive(delivery: Delivery) -> None:
        nonlocal last
        if delivery.topic in topics:
            found[delivery.topic] = delivery.payload
            last = time.monotonic()

    # A broker that names its clients itself, by their user say, hands the worker's own session over, with the
    # frames that wait for it. Only one that is new is ended.
    is_new = False

    def connected(session_present: bool) -> None:
        nonlocal is_new
        is_new = not session_present

    connection = Connection(
        broker,
        f"nanofleet-commands-{uuid.uuid4().hex[:12]}",
        on_delivery=receive,
        on_connected=connected,
        subscriptions=dict.fromkeys(topics, 0),
        session_expiry=SESSION_EXPIRY,
    )
    deadline = time.monotonic() + patience
    connection.__enter__()
    try:
        while not connection.subscribed.is_set():
            connection.check()
            if stop.is_set() or time.monotonic() > deadline:
                return None
            alive()
            connection.ended.wait(0.05)
        wait_until_quiet(connection, lambda: last, QUIET)
    finally:
        connection.close(session_expiry=0 if is_new else None)
    return {topic: payload for topic, payload in found.items() if payload}
