"""One MQTT 5 connection that keeps itself alive, in a thread of its own.

    any thread                      network thread
    publish(), call()  ── posts ──> ┌─> connect ── CONNACK ──> serve: read, write, run what was posted ─┐
                                    └────────── back off, 1 s doubling to 30 s <──────── lost ──────────┘

paho-mqtt is driven through its external-loop calls, so that everything about the connection happens in
one thread: there is no lock to take in the wrong order, an ack cannot meet another connection than its
frame's, and an exception in a handler ends the thread instead of hiding in it (paho #365, #704).
"""

from __future__ import annotations

import collections
import contextlib
import logging
import random
import selectors
import socket
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Deque, Mapping, Optional, Sequence, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire.broker import Broker
from wire.credentials import FreshTls
from wire.errors import ConnectionRefused, DuplicateMember, SettingsError
from wire.mqtt.packets import Delivery, Publication
from wire.mqtt.publish_queue import DEFAULT_RECEIVE_MAXIMUM, Outgoing, not_the_lines
from wire.mqtt.refusals import check_connack
from wire.mqtt.subscriptions import Subscriptions
from wire.mqtt.tcp import TcpLine
from wire.mqtt.traits import Traits

log = logging.getLogger(__name__)

CONNACK_TIMEOUT = 10.0
MAX_BACKOFF = 30.0
#: A client certificate that ends sooner is worth a warning at each connect.
CERTIFICATE_WARNING = timedelta(days=14)

SESSION_TAKEN_OVER = 0x8E
#: OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID: a machine without a battery is in 1970 until it hears of the time.
NOT_YET_VALID = 9
#: What comes of a TLS greeting where no TLS is spoken.
_HUNG_UP_ON = (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Connection:
    """A connection as a context manager: entering starts the thread, leaving disconnects.

    What happens is told to the callables given here, all of them in the network thread. What they raise ends
    it, and is what `failure` holds; an OSError as a HandlerFailed, because it is no lost connection.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        on_delivery: Callable[[Delivery], None],
        on_connected: Callable[[bool], None] = lambda session_present: None,
        on_lost: Callable[[], None] = lambda: None,
        on_failure: Callable[[BaseException], None] = lambda failure: None,
        subscriptions: Optional[Mapping[str, int]] = None,
        subscribe_anew: bool = True,
        will: Optional[Publication] = None,
        will_delay: int = 0,
        session_expiry: int = 0,
        receive_maximum: int = DEFAULT_RECEIVE_MAXIMUM,
        largest_packet: Optional[int] = None,
        reconnect: bool = True,
        gives_way: bool = True,
    ) -> None:
        """Prepare a connection.

        Args:
            broker: where to connect.
            client_id: the session's name; unique in the whole broker.
            on_delivery: hears each message; acks it later with `ack`.
            on_connected: hears each CONNACK, and whether the broker still had the session.
            on_lost: hears that the connection is gone (it will be retried).
            on_failure: hears what ended the thread, when nothing will be retried.
            subscriptions: topic filters with their QoS, 0 or 1. What comes at QoS 0 is not kept for a member
                that is away.
            subscribe_anew: whether to subscribe where the broker has no session of this member, too.
            will: published by the broker when this member vanishes.
            will_delay: seconds that the broker waits with it; a member that returns in time has not vanished.
            session_expiry: seconds for which the broker keeps the session of a vanished member.
            receive_maximum: messages that the broker may send ahead of their acks.
            largest_packet: bytes of a packet that the broker may send, at most; it drops what is larger. None
                takes all: a worker has to answer a frame that is too large, too.
            reconnect: whether to connect again after a loss; without, a loss ends the thread.
            gives_way: whether another client that takes the session over ends the thread; without, that is a
                loss like any other.
        """
        self.broker = broker
        self.client_id = client_id
        #: What ended the network thread, if it was not `close()`.
        self.failure: Optional[BaseException] = None
        self.connected = threading.Event()
        self.ended = threading.Event()
        self.reconnects = 0
        self.epoch = 0
        #: Why the last try did not connect, or the last connection was lost.
        self.trouble = ""
        self._on_delivery = on_delivery
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._on_failure = on_failure
        self._session_expiry = session_expiry
        self._receive_maximum = receive_maximum
        self._largest_packet = largest_packet
        self._reconnect = reconnect
        self._gives_way = gives_way
        self._posted: Deque[Callable[[], None]] = collections.deque()
        self._woken = False
        self._told_to_close = False
        self._closing = False
        self._vanishing = False
        self._lost_because = ""
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._tls = FreshTls()
        self._client = self._make_client(will, will_delay)
        self._outgoing = Outgoing(self._client)
        self._subscriptions = Subscriptions(self._client, broker, subscriptions or {}, anew=subscribe_anew)
        #: Set while the broker has confirmed what this connection has subscribed to.
        self.subscribed = self._subscriptions.confirmed
        #: Set once it has confirmed what was left.
        self.unsubscribed = self._subscriptions.left
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

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
        deadline = time.monotonic() + timeout
        while not (self.connected.is_set() or stop.is_set()):
            self.check()
            if time.monotonic() > deadline:
                return False
            self.ended.wait(0.05)
        return not stop.is_set()

    @property
    def maximum_packet_size(self) -> int:
        """Bytes that the broker takes; known once connected."""
        return self._outgoing.maximum_packet_size

    @property
    def traits(self) -> Traits:
        """What the broker has shown of itself; known once connected."""
        return self._outgoing.traits

    def check(self) -> None:
        """Raise what ended the network thread, if anything did."""
        if self.failure is not None:
            raise self.failure

    def publish(self, publication: Publication) -> None:
        """Publish at QoS 1 as soon as the broker's window has room; kept across reconnects."""
        if self._in_network_thread():
            self._outgoing.put(publication)
        else:
            self.call(lambda: self._outgoing.put(publication))

    def call(self, function: Callable[[], None]) -> None:
        """Run a function in the network thread, soon."""
        self._posted.append(function)
        # The flag is taken back before it looks at what is posted: a byte too many, but never one too few.
        if not self._woken and not self._in_network_thread():
            self._woken = True
            # Full: it will wake anyway. Closed: nobody is left to run it.
            with contextlib.suppress(OSError):
                self._wake_write.send(b"\0")

    def _in_network_thread(self) -> bool:
        return threading.get_ident() == self._thread.ident

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Leave some subscriptions; `unsubscribed` is set once the broker has confirmed it.

        They may be an earlier connection's: the broker's session has them, too.
        """
        self.unsubscribed.clear()
        self.call(lambda: self._subscriptions.leave(topics, self._has_line()))

    def subscribe(self, topics: Sequence[str]) -> None:
        """Take subscriptions up again that were left."""
        self.call(lambda: self._subscriptions.take_up(topics, self._has_line()))

    def close(
        self, session_expiry: Optional[int] = None, *, send_will: bool = False, timeout: float = 5.0
    ) -> None:
        """Send what is queued, disconnect and end the thread. The first call counts.

        Args:
            session_expiry: seconds to keep the session; 0 ends it; None leaves it as it was agreed.
            send_will: let the broker publish the will, as if this member had vanished; the session stays.
            timeout: seconds to wait for the last packets to leave.
        """
        if self._told_to_close or not self._thread.is_alive():
            return
        self._told_to_close = True
        expiry = self._session_expiry if session_expiry is None else session_expiry
        self.call(lambda: self._begin_close(expiry, send_will))
        self._thread.join(timeout)

    # --- for the network thread, which handlers run in ------------------------------------------------

    def ack(self, delivery: Delivery) -> bool:
        """Ack a delivery; False if its connection is gone, and it will be delivered again."""
        if delivery.epoch != self.epoch or not self._has_line():
            return False
        if delivery.qos > 0:
            self._client.ack(delivery.mid, delivery.qos)
        return True

    def _make_client(self, will: Optional[Publication], will_delay: int) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport="websockets" if self.broker.websocket else "tcp",
            manual_ack=True,
        )
        if self.broker.websocket:
            client.ws_set_options(path=self.broker.path)
        if self.broker.secure:
            client.tls_set_context(cast(ssl.SSLContext, self._tls))
        if will is not None:
            properties = Properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will_delay
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=properties)
        client.on_connect = self._handle_connack
        client.on_disconnect = self._handle_disconnect
        client.on_message = self._handle_message
        # Its presence tells paho that somebody else writes: without it publish() writes at once.
        client.on_socket_register_write = lambda client, userdata, sock: None
        return client

    def _run(self) -> None:
        try:
            self._keep_connected()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread by check()
            self.failure = error
            self._on_failure(error)
        finally:
            self.connected.clear()
            self.ended.set()
            sock = self._client.socket()
            if sock is not None:
                sock.close()
            self._wake_read.close()
            self._wake_write.close()

    def _keep_connected(self) -> None:
        backoff = 1.0
        while not self._closing:
            self._lost_because = ""
            try:
                self._open()
                self._serve()
            except (OSError, SettingsError) as error:
                self._raise_if_final(error)
                self._lost_because = str(error) or type(error).__name__
                if self.broker.secure and not self.epoch and isinstance(error, _HUNG_UP_ON):
                    self._lost_because += (
                        f"; if it speaks no TLS on this port, write {self.broker.scheme[:-1]}://"
                    )
                if getattr(error, "verify_code", 0) == NOT_YET_VALID:
                    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
                    self._lost_because = (
                        f"its certificate is not yet valid by this machine's clock ({today}): set it (NTP)"
                    )
            was_connected = self.connected.is_set()
            self.connected.clear()
            if was_connected:
                backoff = 1.0
                self._on_lost()
            if self._closing or not self._reconnect:
                return
            verb = "lost" if was_connected else "cannot reach"
            self.trouble = self._lost_because
            log.warning("%s %s: %s; trying again in %.0f s", verb, self.broker, self.trouble, backoff)
            # Jitter, so that a fleet does not come back in one wave.
            self._pause(backoff * random.uniform(0.8, 1.2))
            backoff = min(2 * backoff, MAX_BACKOFF)

    def _raise_if_final(self, error: Exception) -> None:
        """Raise what another try does not change; only once connected, files may just be being replaced."""
        if self.epoch:
            return
        if isinstance(error, SettingsError):
            raise error
        if not isinstance(error, ssl.SSLError):
            return
        if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code != NOT_YET_VALID:
            raise ConnectionRefused(
                f"{self.broker}: its certificate was not accepted: {error.verify_message}; "
                "name the CA that signed it with --ca-file, and connect by the name it was made for"
            ) from None
        passing = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLCertVerificationError)
        if not isinstance(error, passing):
            raise ConnectionRefused(f"{self.broker}: TLS failed: {error}; is this its TLS port?") from None

    def _open(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._session_expiry
        properties.ReceiveMaximum = self._receive_maximum
        if self._largest_packet is not None:
            properties.MaximumPacketSize = self._largest_packet
        self._take_credentials()
        self._client.connect(
            self.broker.host,
            self.broker.port,
            keepalive=self.broker.keepalive,
            clean_start=False,
            properties=properties,
        )

    def _take_credentials(self) -> None:
        """Read password and certificates again: they may have been rotated since the last connect."""
        credentials = self.broker.credentials
        if credentials.user is not None:
            self._client.username_pw_set(credentials.user, credentials.password())
        if self.broker.secure:
            self._tls.renew(credentials)
        ends = credentials.ends()
        if ends is not None and ends - datetime.now(timezone.utc) < CERTIFICATE_WARNING:
            log.warning(
                "--cert-file %s: this certificate is good until %s; put a new one in its place, and the next "
                "connection uses it",
                credentials.cert_file,
                f"{ends:%Y-%m-%d %H:%M}Z",
            )

    def _serve(self) -> None:
        connack_due = time.monotonic() + CONNACK_TIMEOUT
        with contextlib.ExitStack() as held:
            selector = held.enter_context(selectors.DefaultSelector())
            selector.register(self._wake_read, selectors.EVENT_READ)
            sock = self._client.socket()
            assert sock is not None
            line = held.enter_context(TcpLine(sock.fileno()))
            selector.register(sock, selectors.EVENT_READ)
            wanted = selectors.EVENT_READ
            while self._client.socket() is not None:
                wish = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
                if wish != wanted:
                    selector.modify(sock, wish)
                    wanted = wish
                # TLS and WebSockets may hold bytes that the selector cannot see.
                buffered = getattr(sock, "pending", lambda: 0)()
                at_once = buffered or self._posted
                ready = {key.fd: events for key, events in selector.select(0 if at_once else 1.0)}
                events = ready.get(sock.fileno(), 0)
                if self._wake_read.fileno() in ready:
                    self._wake()
                if events & selectors.EVENT_READ or buffered:
                    self._client.loop_read()
                    line.ack_at_once()
                if events & selectors.EVENT_WRITE and self._client.socket() is not None:
                    self._client.loop_write()
                self._client.loop_misc()
                self._run_posted()
                if self._vanishing and not self._client.want_write():
                    return
                if not self.connected.is_set() and time.monotonic() > connack_due:
                    raise OSError(f"no CONNACK within {CONNACK_TIMEOUT:.0f} s")
            if self._closing:
                line.await_close()

    def _wake(self) -> None:
        self._wake_read.recv(4096)
        self._woken = False

    def _run_posted(self) -> None:
        with not_the_lines():
            for _ in range(len(self._posted)):
                self._posted.popleft()()
        self._pump()

    def _pause(self, seconds: float) -> None:
        """Wait, but run what is posted: a `close()` must not have to wait for the next try."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._closing and time.monotonic() < deadline:
                if selector.select(0.0 if self._posted else max(0.0, deadline - time.monotonic())):
                    self._wake()
                self._run_posted()

    def _has_line(self) -> bool:
        """Whether the broker can be told anything: paho drops a lost socket before that is noticed here."""
        return self.connected.is_set() and self._client.socket() is not None

    def _pump(self) -> None:
        if self._has_line():
            self._outgoing.pump()

    def _begin_close(self, session_expiry: int, send_will: bool) -> None:
        self._pump()
        self._closing = True
        # rumqttd forgets the will at any DISCONNECT, even at the one that asks for it.
        self._vanishing = send_will
        if self._client.socket() is not None and not send_will:
            properties = Properties(PacketTypes.DISCONNECT)
            properties.SessionExpiryInterval = session_expiry
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Normal disconnection"), properties)

    # --- paho's callbacks -----------------------------------------------------------------------------

    def _handle_connack(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Optional[Properties],
    ) -> None:
        check_connack(self.broker, reason, properties, first=not self.epoch)
        if self.epoch:
            self.reconnects += 1
        self.epoch += 1
        self.connected.set()
        session = "kept" if flags.session_present else "new"
        log.debug("CONNACK from %s for %s; its session is %s", self.broker, self.client_id, session)
        self._outgoing.connected(properties)
        self._subscriptions.connected(flags.session_present)
        with not_the_lines():
            self._on_connected(flags.session_present)

    def _handle_disconnect(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        properties: Optional[Properties],
    ) -> None:
        if flags.is_disconnect_packet_from_server and reason.value == SESSION_TAKEN_OVER:
            another = f"another client connected as {self.client_id!r} and took the session over"
            if self._gives_way:
                raise DuplicateMember(f"{self.broker}: {another}")
            self._lost_because = another
        if not self._lost_because:
            hint = "" if self.connected.is_set() else " before CONNACK; is this the broker's MQTT port?"
            if hint and self.broker.secure:
                hint += " Or does it ask for a client certificate (--cert-file, --key-file)?"
            elif hint:
                hint += f" If it speaks TLS on this port, write {self.broker.scheme}s://"
            self._lost_because = f"{reason}{hint}"

    def _handle_message(
        self,
        client: mqtt.Client,
        userdata: Any,
        message: mqtt.MQTTMessage,
    ) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.warning("ignored a message whose topic is not UTF-8")
            if message.qos:
                client.ack(message.mid, message.qos)
            return
        properties = message.properties
        unread = getattr(properties, "unread", 0)
        if unread:
            log.warning("%s: %d bytes of properties are more than are read: taken without any", topic, unread)
        delivery = Delivery(
            topic=topic,
            payload=bytes(message.payload),
            qos=message.qos,
            retain=message.retain,
            mid=message.mid,
            epoch=self.epoch,
            user_properties=dict(getattr(properties, "UserProperty", ())),
            response_topic=getattr(properties, "ResponseTopic", None),
            correlation_data=getattr(properties, "CorrelationData", None),
        )
        with not_the_lines():
            self._on_delivery(delivery)
