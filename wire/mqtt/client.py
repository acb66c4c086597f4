"""paho's client: how it is made, and how it connects by the present password and certificates."""

from __future__ import annotations

import contextlib
import logging
import ssl
from datetime import datetime, timedelta, timezone
from typing import cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire.broker import Broker
from wire.credentials import FreshTls
from wire.mqtt.options import ConnectionOptions

log = logging.getLogger(__name__)

#: A client certificate that ends sooner is worth a warning at each connect.
CERTIFICATE_WARNING = timedelta(days=14)


def make_client(options: ConnectionOptions, tls: FreshTls) -> mqtt.Client:
    """A client for a loop of our own: by itself it neither connects, reads nor writes, and acks nothing."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        transport="websockets" if options.broker.websocket else "tcp",
        manual_ack=True,
    )
    if options.broker.websocket:
        client.ws_set_options(path=options.broker.path)
    if options.broker.secure:
        client.tls_set_context(cast(ssl.SSLContext, tls))
    will = options.will
    if will is not None:
        properties = Properties(PacketTypes.WILLMESSAGE)
        properties.WillDelayInterval = options.will_delay
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=properties)
    # With it paho leaves writing to the caller's loop: without it publish() writes at once.
    client.on_socket_register_write = lambda client, userdata, sock: None
    return client


def connect(client: mqtt.Client, options: ConnectionOptions, tls: FreshTls) -> None:
    """Connect, and resume the session if the broker has kept it.

    Raises:
        SettingsError: a file of the credentials cannot be used.
        OSError: there is no connection.
    """
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = options.session_expiry
    properties.ReceiveMaximum = options.receive_maximum
    if options.largest_packet is not None:
        properties.MaximumPacketSize = options.largest_packet
    broker = options.broker
    _use_credentials(client, broker, tls)
    client.connect(
        broker.host, broker.port, keepalive=broker.keepalive, clean_start=False, properties=properties
    )


def _use_credentials(client: mqtt.Client, broker: Broker, tls: FreshTls) -> None:
    """Read password and certificates again: they may have been replaced since the last connect."""
    credentials = broker.credentials
    if credentials.user is not None:
        client.username_pw_set(credentials.user, credentials.password())
    if broker.secure:
        tls.renew(credentials)
    ends = credentials.ends()
    now = datetime.now(timezone.utc)
    if ends is not None and ends - now < CERTIFICATE_WARNING:
        log.warning(
            "--cert-file %s: this certificate %s %s; put a new one in its place, and the next "
            "connection uses it",
            credentials.cert_file,
            "is good until" if now < ends else "has expired, on",
            f"{ends:%Y-%m-%d %H:%M}Z",
        )


def disconnect(client: mqtt.Client, session_expiry: int) -> None:
    """Queue a DISCONNECT, after which the broker keeps the session for so many seconds."""
    properties = Properties(PacketTypes.DISCONNECT)
    properties.SessionExpiryInterval = session_expiry
    client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Normal disconnection"), properties)


def close_socket(client: mqtt.Client) -> None:
    """Close what is still open, without a DISCONNECT."""
    sock = client.socket()
    if sock is not None:
        with contextlib.suppress(OSError):  # what has ended the connection is what is reported
            sock.close()
