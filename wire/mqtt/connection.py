"""One MQTT 5 connection that keeps itself alive, in a thread of its own.

    any thread                      network thread
    publish(), call()  ── posts ──> ┌─> connect ── CONNACK ──> serve: read, write, run what was posted ─┐
                                    └────────── back off, 1 s doubling to 30 s <──────── lost ──────────┘

paho-mqtt is driven through its external-loop calls, beside a reader and a writer of our own, in one thread:
there is no lock to take in the wrong order, an ack cannot meet another connection than its frame's, and an
exception in a handler ends the thread instead of hiding in it (paho #365, #704).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from wire.credentials import FreshTls
from wire.errors import SettingsError
from wire.mqtt.client import close_socket, connect, disconnect, make_client
from wire.mqtt.handlers import in_handler
from wire.mqtt.losses import Loss
from wire.mqtt.network_thread import NetworkThread
from wire.mqtt.options import ConnectionOptions
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.reader import make_io
from wire.mqtt.refusals import check_connack
from wire.mqtt.socket_loop import run_socket
from wire.mqtt.subscriptions import Subscriptions
from wire.mqtt.tcp import TcpSocket
from wire.mqtt.traits import Traits
from wire.waiting import wait_until

log = logging.getLogger(__name__)

#: Seconds from the TCP connection to its CONNACK.
CONNACK_TIMEOUT_SECONDS = 10.0
#: The most seconds between two tries to connect.
MAX_BACKOFF_SECONDS = 30.0


@dataclass(eq=False, repr=False)
class Connection(ConnectionOptions):
    """A connection as its options say; a context manager: entering starts the thread.

    Leaving disconnects, or after an exception hangs up, so that the broker publishes the will.

    Attributes:
        connected: set while there is a connection, from its CONNACK on.
        subscribed: set while the broker has confirmed what this connection has subscribed to.
        unsubscribed: set once the broker has confirmed the last `unsubscribe`, which has made it.
        trouble: why the last try did not connect, or why the last connection was lost.
        ended: set once the network thread has ended.
    """

    def __post_init__(self) -> None:
        self.connected = threading.Event()
        self.unsubscribed = threading.Event()
        self.trouble = ""
        #: Whether `close()` was called; has begun in the thread; and hangs up, so that the will is published.
        self._close_called = self._closing = self._vanishing = False
        self._thread = NetworkThread(self._run, self.on_failure)
        self.ended = self._thread.ended
        self._tls = FreshTls()
        self._client = make_client(self, self._tls)
        self._client.on_connect = self._handle_connack
        self._loss = Loss(self._client, self, self.connected)
        self._subscriptions = subscriptions = Subscriptions(self._client, self)
        self._deliveries, self._queue, self._io = make_io(self._client, subscriptions, self.on_delivery)
        self.subscribed = self._subscriptions.confirmed

    # --- for any thread -----------------------------------------------------------------------------

    def __enter__(self) -> Connection:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close(send_will=exception[0] is not None)

    def wait_connected(self, stop: threading.Event, timeout: float = float("inf")) -> bool:
        """Wait until connected; False if `stop` was set first, or so many seconds have passed.

        Raises:
            NanofleetError: the broker refused.
        """
        done = wait_until(lambda: self.connected.is_set() or stop.is_set(), timeout, check=self.check)
        return done and not stop.is_set()

    @property
    def epoch(self) -> int:
        """How many connections there have been."""
        return self._deliveries.epoch

    @property
    def reconnects(self) -> int:
        """How many connections there have been after the first."""
        return max(0, self.epoch - 1)

    @property
    def maximum_packet_size(self) -> int:
        """Bytes that the broker takes; known once connected."""
        return self._queue.maximum_packet_size

    @property
    def traits(self) -> Traits:
        """What the broker has shown of itself; known once connected."""
        return self._queue.traits

    @property
    def failure(self) -> Optional[BaseException]:
        """What the network thread raised; None while it runs, and where it ended by itself."""
        return self._thread.failure

    def check(self) -> None:
        """Raise what ended the network thread, if anything did."""
        if self._thread.failure is not None:
            raise self._thread.failure

    def publish(self, publication: Publication) -> None:
        """Publish at QoS 1 as soon as the broker's window has room; kept across reconnects."""
        self._begin(lambda: self._queue.put(publication))

    def call(self, function: Callable[[], None]) -> None:
        """Run a function in the network thread, soon."""
        self._thread.post(function)

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Unsubscribe from some topics; `unsubscribed` is set once the broker has confirmed it.

        They may be an earlier connection's: the broker's session has them, too.
        """
        # One for each call: an UNSUBACK that is due to an earlier one sets none that is waited for now.
        unsubscribed = self.unsubscribed = threading.Event()
        self._begin(lambda: self._subscriptions.drop(topics, unsubscribed, self._is_open()))

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe again to topics that were unsubscribed from."""
        self._begin(lambda: self._subscriptions.restore(topics, self._is_open()))

    def close(
        self, session_expiry: Optional[int] = None, *, send_will: bool = False, timeout: float = 5.0
    ) -> None:
        """Send what is queued, disconnect and end the thread. The first call counts.

        Args:
            session_expiry: seconds to keep the session; 0 ends it; None leaves it as it was agreed.
            send_will: let the broker publish the will, as if this member had vanished; the session stays.
            timeout: seconds to wait for the last packets to leave.
        """
        if self._close_called or not self._thread.is_alive():
            return
        self._close_called = True
        expiry = self.session_expiry if session_expiry is None else session_expiry
        self.call(lambda: self._begin_close(expiry, send_will))
        self._thread.join(timeout)

    def _begin(self, function: Callable[[], None]) -> None:
        """Do what queues a packet; in a handler at once: what that publishes next may say that it is done."""
        if self._thread.is_current():
            function()
        else:
            self.call(function)

    # --- for the network thread, which handlers run in ------------------------------------------------

    def ack(self, delivery: Delivery) -> bool:
        """Ack a delivery; False if its connection is gone, and it will be delivered again."""
        if delivery.epoch != self._deliveries.epoch or not self._is_open():
            return False
        if delivery.qos > 0:
            self._io.ack(delivery.mid, delivery.qos)
        return True

    def _is_open(self) -> bool:
        """Whether a packet can be sent: paho drops a lost socket before that is noticed here."""
        return self.connected.is_set() and self._client.socket() is not None

    def _run(self) -> None:
        try:
            self._keep_connected()
        finally:
            self.connected.clear()
            close_socket(self._client)

    def _keep_connected(self) -> None:
        backoff = 1.0
        while not self._closing:
            self._loss.because = ""
            try:
                connect(self._client, self, self._tls)
                self._serve()
            except (OSError, SettingsError) as error:
                self._loss.note(error, first=not self.epoch)
            was_connected = self.connected.is_set()
            self.connected.clear()
            if was_connected:
                backoff = 1.0
                self.on_lost()
            if self._closing:
                return
            self.trouble = self._loss.because
            if not self.reconnect:
                return
            verb = "lost" if was_connected else "cannot reach"
            log.warning("%s %s: %s; trying again in %.0f s", verb, self.broker, self.trouble, backoff)
            # Jitter, so that a fleet does not come back in one wave. A `close()` must not wait for that.
            self._thread.run_calls_for(backoff * random.uniform(0.8, 1.2), lambda: self._closing)
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)

    def _serve(self) -> None:
        connack_due = time.monotonic() + CONNACK_TIMEOUT_SECONDS

        def send() -> bool:
            if self._is_open() and not self._closing:
                self._queue.pump()
            if not self.connected.is_set() and time.monotonic() > connack_due:
                raise OSError(f"no CONNACK within {CONNACK_TIMEOUT_SECONDS:.0f} s")
            self._io.write()
            return not self._vanishing or self._client.want_write()

        self._io.begin()
        with TcpSocket(self._client) as tcp:
            run_socket(self._client, tcp, self._thread, self._io, send)
            if self._closing and not self._vanishing:
                tcp.await_close()

    def _begin_close(self, session_expiry: int, send_will: bool) -> None:
        if self._is_open():
            self._queue.pump()
        self._closing = True
        # rumqttd forgets the will at any DISCONNECT, even at the one that asks for it.
        self._vanishing = send_will
        if self._client.socket() is not None and not send_will:
            disconnect(self._client, session_expiry)

    def _handle_connack(
        self, client: Any, userdata: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        check_connack(self.broker, reason, properties, first=not self.epoch)
        self._deliveries.epoch += 1
        self.connected.set()
        session = "kept" if flags.session_present else "new"
        log.debug("CONNACK from %s for %s; its session is %s", self.broker, self.client_id, session)
        self._queue.connected(properties)
        self._subscriptions.connected(flags.session_present)
        with in_handler:
            self.on_connected(flags.session_present)
