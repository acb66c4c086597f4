"""Why there is no connection: what another try does not change, and what the user reads about the rest.

Refusals by CONNACK have a module of their own, `refusals`.
"""

from __future__ import annotations

import ssl
import threading
from datetime import datetime, timezone
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from wire.broker import Broker
from wire.errors import ConnectionRefused, DuplicateMember, SettingsError
from wire.mqtt.options import ConnectionOptions

SESSION_TAKEN_OVER = 0x8E
#: OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID: a machine without a battery is in 1970 until it gets the time.
NOT_YET_VALID = 9
#: What a TLS greeting comes to where no TLS is spoken.
_HUNG_UP = (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
#: TLS errors that may pass by themselves.
_PASSING = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLCertVerificationError)


class Loss:
    """The loss of a client's present connection, or of its present try. All calls come from its thread.

    Attributes:
        because: why it is lost, once that is known.
    """

    def __init__(self, client: mqtt.Client, options: ConnectionOptions, connected: threading.Event) -> None:
        """Receive a client's DISCONNECTs.

        Args:
            client: paho's.
            options: those of its member.
            connected: set while it is connected.
        """
        self.because = ""
        self._options = options
        self._connected = connected
        client.on_disconnect = self._handle_disconnect

    def note(self, error: Exception, *, first: bool) -> None:
        """Note what connecting, reading or writing raised; see `explain_error`."""
        self.because = explain_error(error, self._options.broker, first=first)

    def _handle_disconnect(
        self, client: Any, userdata: Any, flags: mqtt.DisconnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        options = self._options
        if flags.is_disconnect_packet_from_server and reason.value == SESSION_TAKEN_OVER:
            self.because = f"another client connected as {options.client_id!r} and took the session over"
            if options.gives_way:
                raise DuplicateMember(f"{options.broker}: {self.because}")
        elif not self.because:
            self.because = explain_disconnect(reason, options.broker, connected=self._connected.is_set())


def explain_error(error: Exception, broker: Broker, *, first: bool) -> str:
    """What went wrong, and perhaps what to do about it.

    Args:
        error: what connecting, reading or writing raised.
        broker: whose it is.
        first: whether this member was never connected to it; later files may just be being replaced.

    Raises:
        NanofleetError: this member was never connected, and another try would not change that.
    """
    if first:
        _raise_if_final(error, broker)
    if getattr(error, "verify_code", 0) == NOT_YET_VALID:
        today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
        return f"its certificate is not yet valid by this machine's clock ({today}): set it (NTP)"
    text = str(error) or type(error).__name__
    if broker.secure and first and isinstance(error, _HUNG_UP):
        return f"{text}; if it speaks no TLS on this port, write {broker.scheme[:-1]}://"
    return text


def _raise_if_final(error: Exception, broker: Broker) -> None:
    if isinstance(error, SettingsError):
        raise error
    if not isinstance(error, ssl.SSLError):
        return
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code != NOT_YET_VALID:
        raise ConnectionRefused(
            f"{broker}: its certificate was not accepted: {error.verify_message}; "
            "name the CA that signed it with --ca-file, and connect by the name it was made for"
        ) from None
    if not isinstance(error, _PASSING):
        raise ConnectionRefused(f"{broker}: TLS failed: {error}; is this its TLS port?") from None


def explain_disconnect(reason: ReasonCode, broker: Broker, *, connected: bool) -> str:
    """What the end of a connection means; before its CONNACK the address is likely to be wrong."""
    if connected:
        return str(reason)
    own, ends = broker.credentials.cert_file, broker.credentials.ends()
    if broker.secure and ends is not None and ends < datetime.now(timezone.utc):
        return f"{reason} before CONNACK; --cert-file {own} has expired: put a new one in its place"
    hint = f"{reason} before CONNACK; is this the broker's MQTT port?"
    if broker.secure and own is not None:
        return f"{hint} Or does it not take --cert-file {own}? Its own log says why"
    if broker.secure:
        return f"{hint} Or does it ask for a client certificate (--cert-file, --key-file)?"
    return f"{hint} If it speaks TLS on this port, write {broker.scheme}s://"
