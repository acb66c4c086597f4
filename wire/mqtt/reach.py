"""Waiting for a broker for a limited time, with an error that names it where it was not there."""

from __future__ import annotations

import threading
import time
from typing import Callable

from wire.errors import NanofleetError
from wire.mqtt.connection import Connection
from wire.waiting import wait_until


class NotReached(NanofleetError):
    """The broker was not there in time."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        super().__init__(f"{connection.broker}: not reached within {seconds:g} s{because(connection)}")


def connect_within(connection: Connection, seconds: float) -> None:
    """Open a connection, and wait until the broker has confirmed what it subscribes to.

    Raises:
        NanofleetError: the broker refused, or was not there in time; the connection is closed again.
    """
    deadline = time.monotonic() + seconds
    connection.__enter__()
    try:
        if connection.wait_connected(threading.Event(), seconds) and wait_for(
            connection, connection.subscribed.is_set, deadline - time.monotonic()
        ):
            return
        raise NotReached(connection, seconds)
    except BaseException:
        # Its thread may be in the middle of a try, which takes as long as the system takes.
        connection.close(timeout=0.2)
        raise


def wait_for(connection: Connection, condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true; False if it did not become so in time.

    Raises:
        NanofleetError: the connection has ended.
    """

    def check() -> None:
        connection.check()
        if connection.ended.is_set():
            raise NanofleetError(f"the connection to {connection.broker} has ended")

    return wait_until(condition, seconds, check=check)


def wait_until_quiet(connection: Connection, last: Callable[[], float], quiet: float) -> None:
    """Wait until all retained messages have come, which follow the SUBACK at once.

    Args:
        connection: its subscriptions are confirmed.
        last: when something retained came last, by the monotonic clock.
        quiet: seconds without more after which all has come.

    Raises:
        NanofleetError: the connection has ended.
    """
    confirmed = time.monotonic()
    wait_for(connection, lambda: time.monotonic() - max(confirmed, last()) >= quiet, float("inf"))


def because(connection: Connection) -> str:
    """The last trouble with a connection that is not there, as the end of a sentence."""
    return f": {connection.trouble}" if connection.trouble and not connection.connected.is_set() else ""
